"""What cannot be attended, or breaks on the way: said in the user's terms, and everything is as it was before."""

import warnings

import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from alongside import NEGATIVE, PROMPT, attend, calling, state, unchanged, zeroed
from diffusers.models.attention_processor import AttnProcessor2_0, FusedAttnProcessor2_0
from torch.nn import functional as F

from promptattn.errors import PromptAttnWarning, UnsupportedModelError

ALL = tiny.PIPELINES | tiny.JOINT_PIPELINES
KINDS = ["sd", "sdxl", "sd3", "flux"]


def denoiser(pipe):
    return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


def negative_of(kind):
    return None if kind == "flux" else NEGATIVE


# Pipelines that are none, or not all there.


@pytest.mark.parametrize("thing", [diffusers.DDPMPipeline, diffusers.AutoencoderKL, tiny.clip_text, dict])
def test_what_makes_no_image_of_a_text_is_refused_by_name(thing):
    if thing is diffusers.DDPMPipeline:
        thing = thing(
            unet=diffusers.UNet2DModel(
                block_out_channels=(8, 8),
                norm_num_groups=4,
                down_block_types=("DownBlock2D",) * 2,
                up_block_types=("UpBlock2D",) * 2,
            ),
            scheduler=diffusers.DDPMScheduler(),
        )
    else:
        thing = tiny.vae() if thing is diffusers.AutoencoderKL else thing()
    with pytest.raises(UnsupportedModelError, match=type(thing).__name__):
        attend(thing, PROMPT)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["denoiser", "scheduler"])
def test_a_pipeline_without_a_part_is_refused_by_its_name(kind, part):
    pipe = ALL[kind]()
    name = ("unet" if kind in tiny.PIPELINES else "transformer") if part == "denoiser" else part
    setattr(pipe, name, None)
    with pytest.raises(
        UnsupportedModelError, match=f"{type(pipe).__name__} is loaded in part only: its {name} is None"
    ):
        attend(pipe, PROMPT)


def test_a_pipeline_without_what_latents_do_not_need_is_served():
    pipe = tiny.sd()
    pipe.vae_scale_factor, pipe.vae = 2, None
    with attend(pipe, PROMPT) as run:
        calling(pipe)(**run.inputs)
    assert run.maps["cat"].array.max() > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["denoiser", "text_encoder", "vae"])
def test_weights_that_are_nowhere_are_named(kind, part):
    pipe = ALL[kind]()
    name = ("unet" if kind in tiny.PIPELINES else "transformer") if part == "denoiser" else part
    pipe.components[name].to("meta")
    with pytest.raises(UnsupportedModelError, match=rf"the weights of {name} are not in memory: .* meta device"):
        attend(pipe, PROMPT)


def test_one_weight_of_many_that_was_not_loaded_is_named():
    pipe = tiny.sd()
    pipe.unet.mid_block.resnets[0].conv1.to("meta")
    with pytest.raises(UnsupportedModelError, match=r"of unet .*: mid_block\.resnets\.0\.conv1\.weight is on the meta"):
        attend(pipe, PROMPT)


# Numbers of several kinds in one pipeline.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("text", "image"), [("bfloat16", "float32"), ("float32", "bfloat16"), ("float16", "float32")])
def test_encoders_and_denoiser_in_different_dtypes(kind, text, image):
    """Around a transformer a run hands the text over in the denoiser's dtype; around a UNet it says what is wrong."""
    pipe = ALL[kind]()
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            part.to(getattr(torch, text if "text" in name else image))
    call = calling(pipe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptAttnWarning)
        with attend(pipe, PROMPT, negative_of(kind)):
            pass  # transformers sets hooks of its own at the first call
    before = state(pipe)
    if kind in tiny.PIPELINES:
        said = pytest.warns(PromptAttnWarning, match=rf"UNet is in {image} and the text encoder in {text}.*pipe\.to\(")
        failed = pytest.raises(RuntimeError, match="dtype")
        with said, failed, attend(pipe, PROMPT, negative_of(kind)) as run:
            call(**run.inputs)
        with pytest.raises(RuntimeError, match="dtype"):
            call(prompt=PROMPT)  # so does the stock pipeline
    else:
        with attend(pipe, PROMPT, negative_of(kind)) as run:
            found = call(**run.inputs)
        assert run.inputs["prompt_embeds"].dtype == getattr(torch, image)
        assert found.isfinite().all()
        assert run.maps["cat"].array.max() > 0
    assert state(pipe) == before


# Processors of other people.


class Scaled(AttnProcessor2_0):
    """Somebody's own processor, whose attention is called by its global name: it can be derived from."""

    def __init__(self, by):
        self.by = by

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            layer(states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for layer, states in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        found = F.scaled_dot_product_attention(query, key, value) * self.by
        return attn.to_out[1](attn.to_out[0](found.transpose(1, 2).flatten(2)))


class ByMatrix:
    """Somebody's own processor that builds the attention matrix: nothing of it goes through the library."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        scores = attn.to_q(hidden_states) @ attn.to_k(context).mT
        return attn.to_out[0](scores.softmax(-1) @ attn.to_v(context))


def closure(attn):
    """A tool that wraps what it finds in a closure."""
    found = attn.processor

    class Wrapped:
        def __call__(self, *args, **kwargs):
            return found(*args, **kwargs)

    return Wrapped()


def test_processors_of_somebody_else_that_call_the_library_are_served():
    pipe = tiny.sd()
    pipe.unet.set_attn_processor({name: Scaled(0.5) for name in pipe.unet.attn_processors})
    call = calling(pipe)
    assert not torch.equal(call(prompt=PROMPT), calling(tiny.sd())(prompt=PROMPT))
    unchanged(pipe, call)
    zeroed(pipe, call)
    assert {type(each) for each in pipe.unet.attn_processors.values()} == {Scaled}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda attn: ByMatrix(), r"ByMatrix.*calls neither scaled_dot_product_attention nor dispatch"),
        (closure, r"Wrapped.*closure"),
        (lambda attn: torch.nn.Identity(), r"Identity"),
    ],
    ids=["by a matrix", "a closure", "no processor at all"],
)
def test_processors_that_cannot_be_entered_are_refused_by_name(make, reason):
    pipe = tiny.sd()
    name = "mid_block.attentions.0.transformer_blocks.0.attn2"
    layer = pipe.unet.get_submodule(name)
    layer.processor = other = make(layer)
    before = state(pipe)
    with pytest.raises(UnsupportedModelError, match=rf"attention layer {name} .*{reason}"), attend(pipe, PROMPT):
        pass
    assert state(pipe) == before
    assert layer.processor is other


# A processor replaced in the middle of an image.


def replacing(processor):
    def replace(pipe, step, timestep, tensors):
        if step == 0:
            pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2.processor = processor
        return {}

    return dict(callback_on_step_end=replace)


def test_a_processor_replaced_between_steps_is_told_and_served():
    pipe = tiny.sd()
    theirs = Scaled(2.0)
    call = calling(pipe, steps=3, **replacing(theirs))
    expected = call(prompt=PROMPT, negative_prompt=NEGATIVE)
    pipe = tiny.sd()
    call = calling(pipe, steps=3, **replacing(theirs))
    before = state(pipe)
    told = pytest.warns(PromptAttnWarning, match=r"1 attention processors were replaced by Scaled while attached")
    with told, attend(pipe, PROMPT, NEGATIVE) as run:
        assert torch.equal(call(**run.inputs), expected)
    assert run.maps["cat"].array.max() > 0
    changed = {key for key, value in state(pipe).items() if before[key] != value}
    assert changed == {("unet", "mid_block.attentions.0.transformer_blocks.0.attn2")}
    assert pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2.processor is theirs


@pytest.mark.parametrize("other", [ByMatrix(), FusedAttnProcessor2_0])
def test_a_processor_that_cannot_be_entered_stops_the_image_and_stays(other):
    if other is FusedAttnProcessor2_0:
        other = type("Mine", (), {"__call__": len})()  # not even a Python function
    pipe = tiny.sd()
    before = state(pipe)
    with (
        pytest.raises(UnsupportedModelError, match=rf"attn2 has the processor {type(other).__name__}"),
        attend(pipe, PROMPT, NEGATIVE) as run,
    ):
        calling(pipe, steps=3, **replacing(other))(**run.inputs)
    place = ("unet", "mid_block.attentions.0.transformer_blocks.0.attn2")
    assert {key for key, value in state(pipe).items() if before[key] != value} == {place}
    assert pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2.processor is other


# Leaving in the middle of a step.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_leaving_from_inside_an_attention_call(kind, error, monkeypatch):
    pipe = ALL[kind]()
    call = calling(pipe)
    text = dict(prompt=PROMPT) | ({} if kind == "flux" else dict(negative_prompt=NEGATIVE))
    expected = call(**text)
    before = state(pipe)
    calls = []

    def fails(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise error("in the middle")
        return attention(*args, **kwargs)

    from promptattn.processors import site

    attention = site.attention
    monkeypatch.setattr(site, "attention", fails)
    run = attend(pipe, "a (red:0) cat", negative_of(kind), where="both")
    with pytest.raises(error, match="in the middle"), run:
        call(**run.inputs)
    monkeypatch.undo()
    assert len(calls) == 3
    assert state(pipe) == before
    assert torch.equal(call(**text), expected)


def test_leaving_while_processors_are_being_put_in(monkeypatch):
    from promptattn.processors import install

    pipe = tiny.sd()
    before = state(pipe)
    put, count = install._set, []

    def interrupted(layer, processor):
        count.append(layer)
        put(layer, processor)
        if len(count) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(install, "_set", interrupted)
    with pytest.raises(KeyboardInterrupt), attend(pipe, PROMPT):
        pass
    monkeypatch.undo()
    assert len(count) > 4, "what was put in was taken out"
    assert state(pipe) == before
