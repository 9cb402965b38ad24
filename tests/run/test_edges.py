"""What is easily got wrong between a pipeline and a run: odd ways of calling, and requests that cannot be met."""

import diffusers
import pytest
import tiny_pipelines as tiny
import torch

import promptattn
from promptattn.errors import CaptureError, ConfigError, PromptAttnWarning, PromptSyntaxError, UnsupportedModelError
from promptattn.maps.capture import Capture


def generate(pipe, steps=2, guidance=5.0, **kwargs):
    generator = torch.Generator().manual_seed(0)
    options = dict(num_inference_steps=steps, guidance_scale=guidance, generator=generator, output_type="latent")
    return pipe(**{**options, "height": 16, "width": 16, **kwargs}).images


@pytest.fixture
def sd():
    return tiny.sd()


# Ways of calling.


def test_inference_mode(sd):
    with torch.inference_mode(), promptattn.attend(sd, "a (red:2) cat") as run:
        generate(sd, **run.inputs)
    with promptattn.attend(sd, "a (red:2) cat") as plain:
        generate(sd, **plain.inputs)
    assert (run.maps["cat"].array == plain.maps["cat"].array).all()


def test_guidance_switched_off_on_the_way(sd):
    """As the diffusers documentation shows it, to save time in the later steps."""

    def stop_guidance(pipe, step, timestep, tensors):
        if step == 1:
            pipe._guidance_scale = 0.0
            tensors["prompt_embeds"] = tensors["prompt_embeds"].chunk(2)[-1]
        return tensors

    options = dict(callback_on_step_end=stop_guidance, callback_on_step_end_tensor_inputs=["prompt_embeds"], steps=4)
    reference = generate(sd, prompt="a red cat", **options)
    with promptattn.attend(sd, "a red cat", capture=Capture(per_step=True)) as run:
        assert torch.equal(generate(sd, **run.inputs, **options), reference)
    assert {len(record.per_step) for record in run.maps.records} == {4}


def test_an_image_after_one_that_was_broken_off_at_its_first_step(sd):
    def stop(*args):
        raise InterruptedError

    with promptattn.attend(sd, "a red cat", capture=Capture(per_step=True)) as run:
        with pytest.raises(InterruptedError):
            generate(sd, **run.inputs, steps=3, callback_on_step_end=stop)
        generate(sd, **run.inputs, steps=3)
    assert {record.step_numbers for record in run.maps.records} == {(0, 1, 2)}


def test_shares_of_the_steps_that_an_image_to_image_pipeline_makes():
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**tiny.sd().components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    capture = Capture(per_step=True, steps=(0.5, 1.0))
    with promptattn.attend(pipe, "a red cat", capture=capture) as run:
        # DDIM is not told where to begin: 10 timesteps, of which the last 6 are walked.
        pipe(**run.inputs, image=torch.rand(1, 3, 16, 16), strength=0.6, num_inference_steps=10, output_type="latent")
    assert {record.step_numbers for record in run.maps.records} == {(3, 4, 5)}
    assert run.maps.meta["steps"] == 6


def test_steps_are_those_of_the_scheduler_that_stable_diffusion_comes_with(sd):
    sd.scheduler = diffusers.PNDMScheduler(skip_prk_steps=True)
    with promptattn.attend(sd, "a red cat", capture=Capture(per_step=True)) as run:
        generate(sd, **run.inputs, steps=4)
    assert {record.step_numbers for record in run.maps.records} == {(0, 1, 2, 3)}


def test_prompt_and_negative_prompt_in_two_calls_of_a_loop_by_hand(sd):
    with promptattn.attend(sd, "a red cat", "ugly", capture=Capture(per_step=True)) as run, torch.no_grad():
        sd.scheduler.set_timesteps(4)
        latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        for timestep in sd.scheduler.timesteps:
            for text in (run.inputs["negative_prompt_embeds"], run.inputs["prompt_embeds"]):
                sd.unet(latents, timestep, encoder_hidden_states=text)
    assert {record.step_numbers for record in run.maps.records} == {(0, 1, 2, 3)}


def test_steps_kept_apart_keep_their_numbers(sd):
    with promptattn.attend(sd, "a red cat", capture=Capture(steps=[1, 3], per_step=True)) as run:
        generate(sd, **run.inputs, steps=4)
    assert {record.step_numbers for record in run.maps.records} == {(1, 3)}
    assert run.maps.step(3)["cat"].array.max() > 0


def test_half_precision_is_the_stock_pipeline_to_the_bit(sd):
    sd.to(torch.bfloat16)
    reference = generate(sd, prompt="a red cat")
    with promptattn.attend(sd, "a red cat") as run:
        assert torch.equal(generate(sd, **run.inputs), reference)
    for record in run.maps.records:
        total = torch.from_numpy(record.mass).sum(-1)
        # The kernel sums bfloat16 scores, the columns float32 ones: a hundredth of bfloat16's own precision apart.
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-4)


# Weights that had no chance to act.


def test_steps_that_are_never_reached_are_said(sd):
    message = r"steps=\(10, 12\) selects none of the 2 steps"
    with pytest.warns(PromptAttnWarning, match=message), promptattn.attend(sd, "a (red:2) cat", steps=(10, 12)) as run:
        generate(sd, **run.inputs)


def test_weights_in_a_negative_prompt_without_guidance_are_said(sd):
    with (
        pytest.warns(PromptAttnWarning, match="negative prompt did not act.*without guidance"),
        promptattn.attend(sd, "a (red:2) cat", "(ugly:2)") as run,
    ):
        generate(sd, **run.inputs, guidance=1.0)


def test_warnings_point_to_the_with_statement_of_the_user(sd):
    with pytest.warns(PromptAttnWarning) as caught, promptattn.attend(sd, "a (cat:1e9)", steps=(10, 12)) as run:
        generate(sd, **run.inputs)
    assert len(caught) == 2
    assert {warning.filename for warning in caught} == {__file__}


# Requests that cannot be met.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(relations="image"), "'image' is none of"),
        (dict(patches=(0.5, 0.5)), "0.5 is not a place"),
        (dict(words=("cat", 1)), "1 is no word"),
        (dict(words=["cat", ("a",)]), r"\('a',\) is no word"),
        (dict(steps=[0.1, 0.5]), "not a selection of steps"),
    ],
)
def test_captures_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Capture(**options)


def test_one_word_needs_no_list():
    assert Capture(words="cat", relations="image->text") == Capture(words=("cat",), relations=("image->text",))


def test_a_captured_word_may_be_in_some_prompts_only(sd):
    with promptattn.attend(sd, ["a red cat", "a dog"], capture=Capture(words=["cat"])) as run:
        generate(sd, **run.inputs)
    assert run.maps.image(0)["cat"].array.max() > 0
    with pytest.raises(CaptureError, match="dog"):
        run.maps.image(1)["dog"]
    with pytest.raises(CaptureError, match="no 'mouse'"):
        promptattn.attend(sd, ["a red cat", "a dog"], capture=Capture(words=["cat", "mouse"]))


@pytest.mark.parametrize(
    ("capture", "message"),
    [
        (Capture(heads=[0, 40]), r"heads=\(0, 40\).*down_blocks.0.*has 2 heads, 0 to 1"),
        (Capture(layers="*attn1"), "no cross-attention layer.*words"),
        (Capture(layers="*attn2", patches=[(0.5, 0.5)]), "no self-attention layer.*patches"),
    ],
)
def test_what_no_layer_can_record_is_refused_on_entry(sd, capture, message):
    with pytest.raises(ConfigError, match=message), promptattn.attend(sd, "a red cat", capture=capture):
        pass
    assert not sd.unet._forward_pre_hooks


@pytest.mark.parametrize("clip_skip", [-3, -1, 3, 9])
@pytest.mark.parametrize("kind", list(tiny.PIPELINES))
def test_clip_skip_that_leaves_no_layer_is_refused(kind, clip_skip):
    with (
        pytest.raises(ConfigError, match=f"clip_skip={clip_skip} .*0 to 2"),
        promptattn.attend(tiny.PIPELINES[kind](), "a cat", clip_skip=clip_skip),
    ):
        pass


@pytest.mark.parametrize("prompt", [None, 3, ["a cat", None]])
def test_what_is_no_prompt_is_refused(sd, prompt):
    with pytest.raises(PromptSyntaxError, match="a prompt is"):
        promptattn.attend(sd, prompt)


def test_an_eager_text_encoder_stays_exact_and_says_that_words_are_not_recorded():
    pipe = tiny.sd()
    pipe.text_encoder.set_attn_implementation("eager")
    stock = pipe.encode_prompt("a red cat", "cpu", 1, False)[0]
    run = promptattn.attend(pipe, "a red cat")
    with pytest.warns(PromptAttnWarning, match=r'text_encoder runs with "eager".*set_attn_implementation'):
        run.__enter__()
    assert torch.equal(run.inputs["prompt_embeds"], stock)
    generate(pipe, **run.inputs)
    run.__exit__(None, None, None)
    assert run.maps.text_attention == ()
    assert pipe.text_encoder.config._attn_implementation == "eager"


def test_a_pipeline_of_crops_is_refused_by_name():
    panorama = type("StableDiffusionPanoramaPipeline", (type(tiny.sd()),), {})
    pipe = object.__new__(panorama)
    pipe.__dict__.update(tiny.sd().__dict__)
    with pytest.raises(UnsupportedModelError, match=r"Panorama.*crops"):
        promptattn.attend(pipe, "a cat")


def test_what_was_not_asked_for_is_named(sd):
    with promptattn.attend(sd, "a red cat", capture=Capture(relations="text->text", heads=0)) as run:
        generate(sd, **run.inputs)
    assert run.maps.relation("cat", "red") > 0
    with pytest.raises(CaptureError, match="left out image->text"):
        run.maps["cat"]
    with pytest.raises(ConfigError, match="no attention layer that sees text is called '\\*attn1'"):
        promptattn.attend(sd, "a (red:1.2) cat", layers="*attn1").__enter__()
