"""Pipelines that begin from a picture, or repaint a part of one, or are guided by a perturbed prediction."""

import inspect

import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from alongside import NEGATIVE, PROMPT, attend, calling, unchanged, zeroed

from promptattn.errors import UnsupportedModelError

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


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@pytest.mark.parametrize("scale", [0.0, 2.0])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_perturbed_attention_guidance(kind, scale, guidance):
    cls = diffusers.StableDiffusionPAGPipeline if kind == "sd" else diffusers.StableDiffusionXLPAGPipeline
    pipe = made(cls, tiny.PIPELINES[kind](), pag_applied_layers="mid")
    call = calling(pipe, pag_scale=scale, guidance_scale=guidance)
    unchanged(pipe, call)
    # In float32 the perturbed half of the tiny SDXL is far from its float64 self, with and without a run.
    zeroed(pipe.to(torch.float64), call)


def test_perturbed_attention_guidance_of_stable_diffusion_3_is_refused_by_name():
    pipe = made(diffusers.StableDiffusion3PAGPipeline, tiny.sd3(), pag_applied_layers="blocks.1")
    with pytest.raises(UnsupportedModelError, match=r"StableDiffusion3PAGPipeline.*perturbed rows"):
        attend(pipe, PROMPT)
