"""Pipelines that begin from a picture, or repaint a part of one, or are guided by a perturbed prediction."""

import inspect

import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from alongside import NEGATIVE, PROMPT, attend, calling, unchanged, zeroed
from torch.overrides import TorchFunctionMode

HEIGHT, WIDTH = 32, 48
PICTURE = torch.linspace(0, 1, 3 * HEIGHT * WIDTH).view(1, 3, HEIGHT, WIDTH)
MASK = (torch.arange(WIDTH) < WIDTH // 2).float().expand(1, 1, HEIGHT, WIDTH)
REPAINTED = dict(image=PICTURE, mask_image=MASK)


def made(cls, parts, **extra):
    """A pipeline of another class around the parts of one."""
    takes = set(inspect.signature(cls.__init__).parameters)
    components = {name: part for name, part in parts.components.items() if name in takes}
    extra |= dict(requires_safety_checker=False) if "requires_safety_checker" in takes else {}
    pipe = cls(**components, **extra)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def like(model, **changed):
    """A random model of the same kind with some of its sizes changed."""
    torch.manual_seed(0)
    config = {name: value for name, value in model.config.items() if name != "_use_default_values"}
    return type(model).from_config(config | changed).eval()


def checked(pipe, negative=NEGATIVE, **given):
    call = calling(pipe, steps=3, height=HEIGHT, width=WIDTH, **given)
    run = unchanged(pipe, call, negative)
    assert run.maps["cat"].array.shape == (HEIGHT, WIDTH)
    zeroed(pipe, call, negative)
    return run


# Inpainting and the Flux pipelines that are told more than a text. What is in `families` is not repeated here.


def test_inpainting_of_stable_diffusion_3():
    parts = tiny.sd3()  # this pipeline refuses latents of other than 16 channels
    parts.vae = like(parts.vae, latent_channels=16)
    parts.transformer = like(parts.transformer, in_channels=16, out_channels=16)
    checked(made(diffusers.StableDiffusion3InpaintPipeline, parts), strength=0.8, **REPAINTED)


def test_a_unet_that_was_trained_to_inpaint():
    """Nine channels: the latents, the mask, and the picture without what is masked."""
    parts = tiny.sd()
    parts.unet = tiny.unet(in_channels=9)
    checked(made(diffusers.StableDiffusionInpaintPipeline, parts), strength=1.0, **REPAINTED)


def test_flux_inpainting():
    checked(made(diffusers.FluxInpaintPipeline, tiny.flux()), None, strength=0.8, **REPAINTED)


def flux_of(channels):
    """Flux whose latents come with something beside them: 16 channels of its own, packed two by two."""
    parts = tiny.flux()
    parts.transformer = like(parts.transformer, in_channels=channels, out_channels=16)
    return parts


def test_flux_fill():
    # 16 of the latents, 16 of the picture, 4 x 8 x 8 of the mask (the tiny autoencoder halves: 4 x 2 x 2).
    checked(made(diffusers.FluxFillPipeline, flux_of(16 + 16 + 16)), None, **REPAINTED)


@pytest.mark.parametrize("cls", ["FluxControlPipeline", "FluxControlImg2ImgPipeline"])
def test_flux_control(cls):
    given = dict(control_image=PICTURE) | (dict(image=PICTURE, strength=0.8) if "Img2Img" in cls else {})
    checked(made(getattr(diffusers, cls), flux_of(32)), None, **given)


def test_flux_kontext_maps_are_those_of_the_new_picture():
    """The picture that is edited stands behind the new one as further image rows, which no map has."""
    pipe = made(diffusers.FluxKontextPipeline, tiny.flux())
    call = calling(
        pipe, steps=3, height=HEIGHT, width=WIDTH, image=PICTURE, _auto_resize=False, max_area=HEIGHT * WIDTH
    )
    run = unchanged(pipe, call, None)
    assert run.maps["cat"].array.shape == (HEIGHT, WIDTH)
    zeroed(pipe, call, None, exact=False)  # whose own rows see the word as before


def test_the_refiner_goes_on_where_the_base_stopped():
    base = tiny.sdxl()
    parts = tiny.sdxl()
    refiner = made(diffusers.StableDiffusionXLImg2ImgPipeline, parts)
    latents = calling(base, steps=4, height=HEIGHT, width=WIDTH, denoising_end=0.5)(prompt=PROMPT)
    call = calling(refiner, steps=4, height=None, image=latents, denoising_start=0.5)
    run = unchanged(refiner, call)
    assert run.maps.meta["steps"] == 2


# Perturbed-attention guidance.


PERTURBED = {
    "sd": (diffusers.StableDiffusionPAGPipeline, tiny.sd, "mid"),
    "sdxl": (diffusers.StableDiffusionXLPAGPipeline, tiny.sdxl, "mid"),
    "sd3": (diffusers.StableDiffusion3PAGPipeline, tiny.sd3, "blocks.1"),
}


@pytest.mark.parametrize("kind", PERTURBED)
@pytest.mark.parametrize("scale", [0.0, 2.0])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_perturbed_attention_guidance(kind, scale, guidance):
    cls, parts, layers = PERTURBED[kind]
    pipe = made(cls, parts(), pag_applied_layers=layers)
    call = calling(pipe, pag_scale=scale, guidance_scale=guidance)
    unchanged(pipe, call)
    # In float32 the perturbed half of the tiny SDXL is far from its float64 self, with and without a run.
    zeroed(pipe.to(torch.float64), call)


class Dense(TorchFunctionMode):
    """Collects what each attention call of the denoiser attends to, float64 `[batch, query, key]`, mean over heads."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.functional.scaled_dot_product_attention:
            query, key = (each.double() for each in args[:2])
            mask = (kwargs or {}).get("attn_mask")
            scores = query @ key.mT * query.shape[-1] ** -0.5
            self.calls.append((scores if mask is None else scores + mask).softmax(-1).mean(1))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_maps_of_perturbed_joint_attention_are_of_the_prompts_own_rows(guidance):
    pipe = made(diffusers.StableDiffusion3PAGPipeline, tiny.sd3(), pag_applied_layers="blocks.1")
    call = calling(pipe, steps=1, pag_scale=2.0, guidance_scale=guidance)
    dense = Dense()
    pipe.transformer.register_forward_pre_hook(lambda *_: dense.__enter__() and None)
    pipe.transformer.register_forward_hook(lambda *_: dense.__exit__(None, None, None))
    call(prompt=PROMPT, negative_prompt=NEGATIVE)
    # The perturbed layer attends twice: with the rows of the texts as they are, and with those that it perturbs.
    first, own, _, last = dense.calls
    with attend(pipe, PROMPT, NEGATIVE) as run:
        call(**run.inputs)
    row = 1 if guidance > 1 else 0
    for record, mass in zip(run.maps.records, (first, own, last), strict=True):
        image = record.grid[0] * record.grid[1]
        for token, slot in (("cat", 3), ("red", 2)):
            (place,) = (
                at
                for at, column in enumerate(run.maps.prompts[0].columns)
                if column.encoder == "text_encoder" and column.text == token
            )
            found = torch.from_numpy(record.mass[0, ..., place]).double().flatten()
            torch.testing.assert_close(found, mass[row, :image, image + slot], rtol=0, atol=2e-6)
