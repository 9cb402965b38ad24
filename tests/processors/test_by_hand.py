"""Plugging in without `attend`, as the module docstrings show it."""

import pytest
import tiny_pipelines as tiny
import torch

import promptattn
from promptattn.core import KeyWeights
from promptattn.errors import ConfigError
from promptattn.maps.recorder import Recorder
from promptattn.processors import UNetAttnProcessor, processors_for

OPTIONS = dict(num_inference_steps=2, height=16, width=24, output_type="latent")


def run(pipe, prompt, **options):
    return pipe(prompt, generator=torch.Generator().manual_seed(0), **OPTIONS, **options).images


@pytest.fixture
def pipe():
    return tiny.sd()


def attended(pipe, prompt, **options):
    with promptattn.attend(pipe, prompt, where="denoiser", strength="exact", **options) as attention:
        image = pipe(**attention.inputs, generator=torch.Generator().manual_seed(0), **OPTIONS).images
    return image, attention.maps


def test_named_processors_with_weights_set_by_hand(pipe):
    expected, _ = attended(pipe, "a (red:2) cat")
    processors = dict(pipe.unet.attn_processors)
    for name in processors:
        if "attn2" in name:
            processors[name] = UNetAttnProcessor()
            processors[name].site.key_weights = KeyWeights(torch.tensor([2]), torch.tensor([[1.0], [2.0]]))
    pipe.unet.set_attn_processor(processors)
    torch.testing.assert_close(run(pipe, "a red cat"), expected, rtol=0, atol=1e-5)


def test_processors_for_a_plan_act_and_record_as_attend_does(pipe):
    expected, maps = attended(pipe, "a (red:2) cat", negative_prompt="(ugly:0.5)")
    recorder = Recorder()
    plan = promptattn.plan(pipe, "a (red:2) cat", "(ugly:0.5)")
    processors = processors_for(pipe.unet, plan, recorder, size=(8, 12))
    assert set(processors) == set(pipe.unet.attn_processors)
    pipe.unet.set_attn_processor(dict(processors))
    torch.testing.assert_close(run(pipe, "a red cat", negative_prompt="ugly"), expected, rtol=0, atol=1e-5)
    assert set(recorder.layers) == set(maps.layers)
    for record in maps.records:
        by_hand = recorder.mean(record.name).reshape(1, *record.grid, 77)
        # Column 0 is the start, then "a", "red", "cat".
        torch.testing.assert_close(by_hand[..., :4], torch.from_numpy(record.mass[..., :4]), rtol=0, atol=1e-6)


def test_without_guidance_there_are_positive_rows_only(pipe):
    plan = promptattn.plan(pipe, "a (red:2) cat")
    processors = processors_for(pipe.unet, plan, guidance=False, images_per_prompt=3)
    weights = next(p.site.key_weights for name, p in processors.items() if "attn2" in name)
    assert weights.index.tolist() == [2]
    assert weights.weight.tolist() == [[2.0], [2.0], [2.0]]


def test_a_recorder_needs_the_size_of_the_latents(pipe):
    with pytest.raises(ConfigError, match="size="):
        processors_for(pipe.unet, promptattn.plan(pipe, "a cat"), Recorder())
