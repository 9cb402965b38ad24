"""What scheduled and composed prompts leave behind, and what is said where they cannot do what they say."""

import warnings

import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from swapping import by_callback, generate

import promptattn
from promptattn import parse
from promptattn.errors import ConfigError, PromptAttnWarning, UnsupportedModelError
from promptattn.processors import attention_layers
from promptattn.prompt import And, Part, Prompt

PROMPT, NEGATIVE = "a [red:(blue:1.4):2] cat", "ugly"


@pytest.fixture
def sd():
    return tiny.sd()


def state(pipe):
    """All that a run may touch."""
    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    hooks = [
        (module._forward_hooks, module._forward_pre_hooks)
        for part in pipe.components.values()
        if isinstance(part, torch.nn.Module)
        for module in part.modules()
    ]
    processors = {name: layer.processor for name, layer in attention_layers(denoiser).items()}
    attention = [
        part.config._attn_implementation
        for name, part in pipe.components.items()
        if name.startswith("text_encoder") and part
    ]
    return [(dict(one), dict(other)) for one, other in hooks], processors, attention, vars(pipe.scheduler).get("step")


@pytest.mark.parametrize("prompt", [PROMPT, "a cat AND [a|b] dog :0.4"])
@pytest.mark.parametrize("make", [tiny.sd, tiny.sd3])
def test_everything_is_as_it_was_after_a_run(make, prompt):
    pipe = make()
    plain = generate(pipe, "a cat")  # transformers sets hooks of its own at the first call
    before = state(pipe)
    with promptattn.attend(pipe, prompt, NEGATIVE) as run:
        generate(pipe, **run.inputs)
    assert state(pipe) == before
    assert torch.equal(generate(pipe, "a cat"), plain)


def test_an_interrupt_in_mid_run_is_said_and_leaves_nothing(sd):
    before = state(sd)

    def stop(pipe, step, timestep, kwargs):
        pipe._interrupt = step == 0
        return kwargs

    with (
        pytest.warns(PromptAttnWarning, match="stopped after 1 of 4 steps, so what the prompt says after the first 2"),
        promptattn.attend(sd, PROMPT, NEGATIVE) as run,
    ):
        generate(sd, **run.inputs, callback_on_step_end=stop)
    assert state(sd) == before
    whole = by_callback(sd, [(0, "a red cat"), (2, "a blue cat")], NEGATIVE)
    with promptattn.attend(sd, "a [red:blue:2] cat", NEGATIVE) as run:
        with pytest.raises(ZeroDivisionError):
            generate(sd, **run.inputs, callback_on_step_end=lambda *_: 1 / 0)
        assert torch.equal(generate(sd, **run.inputs), whole)
    assert state(sd) == before


def test_a_text_that_cannot_be_encoded_is_refused_before_or_leaves_nothing(sd):
    before = state(sd)
    broken = sd.text_encoder.forward

    def forward(*args, **kwargs):
        raise MemoryError("no room for the second text")

    with promptattn.attend(sd, PROMPT, NEGATIVE) as run:
        sd.text_encoder.forward = forward
        with pytest.raises(MemoryError, match="second text"):
            generate(sd, **run.inputs)
        del sd.text_encoder.forward
        generate(sd, **run.inputs)
    assert sd.text_encoder.forward == broken
    assert state(sd) == before


def test_runs_in_each_other_keep_to_their_own_texts(sd):
    alone = []
    for prompt in (PROMPT, "a cat AND [a|b] dog"):
        with promptattn.attend(sd, prompt, NEGATIVE, capture=False) as run:
            alone.append(generate(sd, **run.inputs))
    before = state(sd)
    with (
        promptattn.attend(sd, PROMPT, NEGATIVE) as outer,
        promptattn.attend(sd, "a cat AND [a|b] dog", NEGATIVE) as inner,
    ):
        assert torch.equal(generate(sd, **outer.inputs), alone[0])
        assert torch.equal(generate(sd, **inner.inputs), alone[1])
        assert torch.equal(generate(sd, **outer.inputs), alone[0])
        assert {"red", "blue"} <= {word.text for word in outer.maps.words}
        assert {"dog", "b"} <= {word.text for word in inner.maps.words}
    assert state(sd) == before


def test_findings_about_every_text_are_said_once(sd):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with promptattn.attend(sd, "a [cat:(dog:0):2] [x:y:7]") as run:
            for _ in range(2):
                generate(sd, **run.inputs)
    messages = [str(each.message) for each in said]
    assert len(messages) == len(set(messages))
    assert any("never switches in a run of 4 steps" in message for message in messages)


def test_quiet_where_all_is_as_said(sd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for prompt in (PROMPT, "a (red:1.2) cat AND a dog :0.5", "[a|b] cat"):
            with promptattn.attend(sd, prompt, NEGATIVE) as run:
                generate(sd, **run.inputs)


def test_the_plans_are_those_of_one_text_and_prompts_are_whole(sd):
    with promptattn.attend(sd, PROMPT, "[ugly|bad]") as run:
        assert run.plans[0].prompt == parse("a red cat")
        assert run.prompts == (parse(PROMPT),)
        assert run.negative_prompts == (parse("[ugly|bad]"),)
        generate(sd, **run.inputs)
        assert run.maps.meta["weighted_prompts"] == [parse(PROMPT).render()]


def test_a_text_equal_to_the_negative_prompt_at_first(sd):
    """`[:cat:2]` is the empty prompt at first, as the negative one is: the rows are told apart all the same."""
    for images in (1, 2):
        with promptattn.attend(sd, ["[:a cat:2]", "[:a dog:2]"], num_images_per_prompt=images) as run:
            assert len(generate(sd, **run.inputs)) == 2 * images
            assert len(generate(sd, **run.inputs, guidance_scale=1.0)) == 2 * images


def test_controlnet_and_caches_are_told_of(sd):
    torch.manual_seed(0)
    net = diffusers.ControlNetModel.from_unet(sd.unet, conditioning_embedding_out_channels=(16, 16))
    pipe = diffusers.StableDiffusionControlNetPipeline(**sd.components, controlnet=net, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    with pytest.warns(PromptAttnWarning, match="ControlNet"), promptattn.attend(pipe, PROMPT, NEGATIVE) as run:
        generate(pipe, image=torch.rand(1, 3, 16, 24), **run.inputs)
    sd3 = tiny.flux()
    sd3.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=0.1))
    with pytest.raises(UnsupportedModelError, match="disable_cache"):
        promptattn.attend(sd3, "a cat AND a dog", NEGATIVE)


def test_parts_without_weight(sd):
    nothing = Prompt((And((Part(parse("a cat"), 0.0), Part(parse("a dog"), 0.0))),))
    with promptattn.attend(sd, nothing, NEGATIVE) as run:
        image = generate(sd, **run.inputs)
    assert torch.isfinite(image).all()
    torch.testing.assert_close(image, generate(sd, NEGATIVE, guidance_scale=1.0), rtol=1e-3, atol=1e-3)
    assert run.maps["dog"].array.max() > 0
    with pytest.raises(ConfigError, match="add up"):
        promptattn.attend(tiny.flux(), nothing)
