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


@pytest.mark.parametrize("name", ["sd3-dual", "sd3-no-t5", "flux"])
def test_joint_attention_by_hand_acts_and_records_as_attend_does(name):
    pipe = tiny.JOINT_PIPELINES[name]()
    guided = name != "flux"
    expected, maps = attended(pipe, "a (red:2) cat", negative_prompt="(ugly:0.5)" if guided else None)
    recorder = Recorder()
    plan = promptattn.plan(pipe, "a (red:2) cat", "(ugly:0.5)")
    rows = 77 + 256 if name == "sd3-no-t5" else None
    processors = processors_for(pipe.transformer, plan, recorder, size=(8, 12), text_rows=rows, guidance=guided)
    assert set(processors) == set(pipe.transformer.attn_processors)
    pipe.transformer.set_attn_processor(dict(processors))
    options = dict(negative_prompt="ugly") if guided else {}
    torch.testing.assert_close(run(pipe, "a red cat", **options), expected, rtol=0, atol=1e-5)
    assert set(recorder.layers) == set(maps.layers)
    columns = [column.text for column in maps.columns]
    for record in maps.records:
        by_hand = recorder.mean(record.name).unflatten(1, record.grid)
        # CLIP's row 2 and, without a start before it, T5's row 1 hold "red".
        first = torch.from_numpy(record.mass[..., columns.index("red")])
        torch.testing.assert_close(by_hand[..., 1 if name == "flux" else 2], first, rtol=0, atol=1e-6)


def test_joint_attention_by_hand_needs_to_know_where_the_image_is():
    pipe = tiny.sd3(t5=False)
    plan = promptattn.plan(pipe, "a (red:2) cat")
    with pytest.raises(ConfigError, match=r"SD3Transformer2DModel needs size="):
        processors_for(pipe.transformer, plan)
    with pytest.raises(ConfigError, match="text_rows=5 are fewer than the 77"):
        processors_for(pipe.transformer, plan, size=(8, 12), text_rows=5)
