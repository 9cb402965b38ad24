"""Image to image and inpainting with the models that are served: the stock pipelines to the bit, maps of all words."""

import logging

import diffusers
import pytest
import torch
from families.family import NEGATIVE, PROMPT
from families.registry import FAMILIES

import promptattn

HEIGHT, WIDTH = 32, 48
PICTURE = torch.linspace(0, 1, 3 * HEIGHT * WIDTH).view(1, 3, HEIGHT, WIDTH)
MASK = (torch.arange(WIDTH) < WIDTH // 2).float().expand(1, 1, HEIGHT, WIDTH)
REPAINTED = dict(image=PICTURE, mask_image=MASK)

# Pipeline, the family whose parts it has, and what its call is given besides the text.
VARIANTS = [
    (diffusers.StableDiffusionImg2ImgPipeline, "stable-diffusion-1", dict(image=PICTURE)),
    (diffusers.StableDiffusionInpaintPipeline, "stable-diffusion-1", REPAINTED),
    (diffusers.StableDiffusionXLImg2ImgPipeline, "sdxl", dict(image=PICTURE)),
    (diffusers.StableDiffusionXLInpaintPipeline, "sdxl", REPAINTED),
    (diffusers.LatentConsistencyModelImg2ImgPipeline, "lcm", dict(image=PICTURE)),
    (diffusers.StableDiffusion3Img2ImgPipeline, "sd3", dict(image=PICTURE)),
    (diffusers.FluxImg2ImgPipeline, "flux", dict(image=PICTURE)),
    (diffusers.ChromaImg2ImgPipeline, "chroma", dict(image=PICTURE)),
]


@pytest.fixture(autouse=True, scope="module")
def quiet():
    level = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity(logging.ERROR)
    yield
    diffusers.utils.logging.set_verbosity(level)


@pytest.mark.parametrize(("kind", "name", "given"), VARIANTS, ids=lambda each: getattr(each, "__name__", ""))
def test_variants_are_the_stock_pipeline_to_the_bit(kind, name, given):
    family = FAMILIES[name]
    parts = family.make()
    pipe = kind(
        **parts.components, **(dict(requires_safety_checker=False) if "safety_checker" in parts.components else {})
    )
    pipe.set_progress_bar_config(disable=True)
    length = family.call.get("max_sequence_length")
    options = dict(num_inference_steps=4, strength=0.8, output_type="pt", **given)
    options |= {} if length is None else dict(max_sequence_length=length)
    options |= dict(height=HEIGHT, width=WIDTH) if "mask_image" in given or name in ("chroma", "flux", "sd3") else {}

    def run(**texts):
        return pipe(**texts, **options, generator=torch.Generator().manual_seed(0)).images

    negative = NEGATIVE if family.negative else None
    expected = run(prompt=PROMPT, **(dict(negative_prompt=negative) if negative else {}))
    with promptattn.attend(pipe, PROMPT, negative, max_sequence_length=length) as attended:
        assert torch.equal(run(**attended.inputs), expected)
    assert attended.maps["cat"].array.shape == (HEIGHT, WIDTH)
    weighted = PROMPT.replace("cat", "(cat:0)")
    with promptattn.attend(pipe, weighted, negative, max_sequence_length=length, where="denoiser") as attended:
        assert not torch.equal(run(**attended.inputs), expected)
    assert attended.maps["mouse"].array.any()
    assert not torch.tensor(attended.maps["cat"].array).any()
