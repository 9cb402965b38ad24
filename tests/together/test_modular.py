"""Modular pipelines: refused by name, and served through an ordinary pipeline that shares their models.

The blocks that encode text are taken out, and what the run encoded is given in their place: `docs/together.md`.
"""

import diffusers.modular_pipelines as modular
import pytest
import tiny_pipelines as tiny
import torch
from alongside import LENGTH, NEGATIVE, PROMPT, WEIGHTED, attend, reading_text, state

from promptattn.errors import UnsupportedModelError

BLOCKS = {
    "sdxl": modular.StableDiffusionXLAutoBlocks,
    "sd3": modular.StableDiffusion3AutoBlocks,
    "flux": modular.FluxAutoBlocks,
}


def of_blocks(blocks, stock):
    """A modular pipeline of these blocks with the models of an ordinary one."""
    pipe = blocks.init_pipeline()
    shared = {name for name, part in stock.components.items() if part is not None and name != "feature_extractor"}
    pipe.update_components(**{name: stock.components[name] for name in shared & set(pipe._component_specs)})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def call(pipe, kind, **inputs):
    options = dict(num_inference_steps=2, height=32, width=48, output="latents")
    if "prompt" in inputs and kind != "sdxl":
        options["max_sequence_length"] = LENGTH
    return pipe(**options, **inputs, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_run_on_the_ordinary_pipeline_serves_the_modular_one(kind):
    stock = (tiny.PIPELINES | tiny.JOINT_PIPELINES)[kind]()
    negative = None if kind == "flux" else NEGATIVE
    whole = of_blocks(BLOCKS[kind](), stock)
    expected = call(whole, kind, prompt=PROMPT, **({} if negative is None else dict(negative_prompt=negative)))

    blocks = BLOCKS[kind]()
    blocks.sub_blocks.pop("text_encoder")
    rest = of_blocks(blocks, stock)
    before = state(stock)
    with attend(stock, PROMPT, negative) as run:
        inputs = {name: value for name, value in run.inputs.items() if value is not None}
        assert torch.equal(call(rest, kind, **inputs), expected)
    assert state(stock) == before
    assert set(run.maps.layers) == reading_text(stock.unet if kind == "sdxl" else stock.transformer)
    assert run.maps.meta["steps"] == 2
    with attend(stock, WEIGHTED, negative, where="denoiser") as run:
        inputs = {name: value for name, value in run.inputs.items() if value is not None}
        assert not torch.equal(call(rest, kind, **inputs), expected)
    assert not any(run.maps["red"].at_layer(name).any() for name in run.maps.layers)


@pytest.mark.parametrize("kind", BLOCKS)
def test_modular_pipelines_themselves_are_refused_by_name(kind):
    stock = (tiny.PIPELINES | tiny.JOINT_PIPELINES)[kind]()
    pipe = of_blocks(BLOCKS[kind](), stock)
    with pytest.raises(UnsupportedModelError, match=rf"{type(pipe).__name__} cannot be attended.*modular"):
        attend(pipe, PROMPT)
