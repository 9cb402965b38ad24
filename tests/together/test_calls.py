"""Ways of calling a pipeline inside a run: several images, prompts of unequal length, callbacks that step in."""

import pytest
import tiny_pipelines as tiny
import torch
from alongside import NEGATIVE, PROMPT, WEIGHTED, attend, calling, reading_text, state, whole

from promptattn.errors import PromptAttnWarning
from promptattn.maps.capture import Capture

ALL = tiny.PIPELINES | tiny.JOINT_PIPELINES
KINDS = ["sd", "sdxl", "sd3", "flux"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def texts(kind, prompt, negative):
    return dict(prompt=prompt) | ({} if kind == "flux" else dict(negative_prompt=negative))


def negative_of(kind, negative=NEGATIVE):
    return None if kind == "flux" else negative


def denoiser(pipe):
    return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


# Batches.


def test_unequal_prompts_and_several_images_of_each(kind):
    """Of a batch of prompts of two, twelve and no words each image has its own, as if it had been made alone."""
    prompts = ["cat", "a photo of a red cat and a gray mouse on a blue table", ""]
    negatives = ["ugly", "", "a blurry picture of a house, a castle"]
    pipe = ALL[kind]()
    call = calling(pipe)
    expected = call(**texts(kind, prompts, negatives), num_images_per_prompt=2)
    before = state(pipe)
    with attend(pipe, prompts, negative_of(kind, negatives), num_images_per_prompt=2) as run:
        assert torch.equal(call(**run.inputs), expected)
    assert state(pipe) == before
    assert len(run.maps) == 6
    assert set(run.maps.layers) == reading_text(denoiser(pipe))
    whole(run)
    for image in (0, 1):
        assert [word.text for word in run.maps.image(image).words] == ["cat"]
    for image in (2, 3):
        assert run.maps.image(image)["table"].array.max() > 0
    assert [word.text for word in run.maps.image(5).words] == []
    assert not (run.maps.image(2)["cat"].array == run.maps.image(3)["cat"].array).all()


def test_each_prompt_of_a_batch_has_its_own_weights(kind):
    prompts = [WEIGHTED, "a (red:1) cat and a gray mouse", "a red cat and a gray (mouse:0)"]
    pipe = ALL[kind]().to(torch.float64)
    latents = torch.randn(3, *calling(pipe)(prompt=PROMPT).shape[1:], dtype=torch.float64)
    if kind == "flux":  # what comes out of Flux is unpacked only on the way to the autoencoder
        latents = latents.view(3, *latents.shape[-2:])
    call = calling(pipe, steps=1)
    with attend(pipe, prompts, negative_of(kind, [NEGATIVE] * 3), where="denoiser", capture=False) as run:
        together = call(**run.inputs, latents=latents.clone())
    alone = []
    for at, prompt in enumerate(prompts):
        with attend(pipe, prompt, negative_of(kind), where="denoiser", capture=False) as run:
            alone.append(call(**run.inputs, latents=latents[at : at + 1].clone()))
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-6)
    assert (alone[0] - alone[1])[0].abs().max() > 1e-3


# callback_on_step_end.


def test_a_callback_that_changes_the_latents(kind):
    pipe = ALL[kind]()

    def shifted(pipe, step, timestep, tensors):
        return {"latents": tensors["latents"] * 0.9 + 0.01 * step}

    call = calling(pipe, steps=3, callback_on_step_end=shifted)
    expected = call(**texts(kind, PROMPT, NEGATIVE))
    assert not torch.equal(expected, calling(pipe, steps=3)(**texts(kind, PROMPT, NEGATIVE)))
    with attend(pipe, PROMPT, negative_of(kind), capture=Capture(per_step=True)) as run:
        assert torch.equal(call(**run.inputs), expected)
    assert {record.step_numbers for record in run.maps.records} == {(0, 1, 2)}


def test_a_callback_that_interrupts(kind):
    """`pipe._interrupt` lets the remaining steps go by without a call of the denoiser."""
    pipe = ALL[kind]()

    def enough(pipe, step, timestep, tensors):
        pipe._interrupt = step == 1
        return {}

    call = calling(pipe, steps=4, callback_on_step_end=enough)
    expected = call(**texts(kind, PROMPT, NEGATIVE))
    before = state(pipe)
    with attend(pipe, PROMPT, negative_of(kind), capture=Capture(per_step=True)) as run:
        assert torch.equal(call(**run.inputs), expected)
        assert {record.step_numbers for record in run.maps.records} == {(0, 1)}
        whole_image = calling(pipe, steps=3)(**run.inputs)
    assert {record.step_numbers for record in run.maps.records} == {(0, 1, 2)}, "the next image begins at step 0"
    assert torch.equal(whole_image, calling(pipe, steps=3)(**texts(kind, PROMPT, NEGATIVE)))
    assert state(pipe) == before


@pytest.mark.parametrize("kind", ["sd", "sd3"])
def test_a_callback_that_puts_in_another_text_is_told(kind):
    """From there on the words are not this run's: nothing is recorded, and steps before stay as they are."""
    pipe = ALL[kind]()
    foreign = pipe.encode_prompt(
        *(["a dog"] * (1 if kind == "sd" else 3)),
        device="cpu",
        **(dict(num_images_per_prompt=1, do_classifier_free_guidance=False)),
    )[0]

    def other(pipe, step, timestep, tensors):
        embeds = tensors["prompt_embeds"].clone()
        rows = foreign[:, : embeds.shape[1]]
        embeds[1:, : rows.shape[1]] = rows
        return {"prompt_embeds": embeds} if step == 0 else {}

    call = calling(pipe, steps=3, callback_on_step_end=other, callback_on_step_end_tensor_inputs=["prompt_embeds"])
    expected = call(**texts(kind, PROMPT, NEGATIVE))
    with (
        pytest.warns(PromptAttnWarning, match="with other text embeddings"),
        attend(pipe, PROMPT, NEGATIVE, capture=Capture(per_step=True)) as run,
    ):
        assert torch.equal(call(**run.inputs), expected)
    assert {record.step_numbers for record in run.maps.records} == {(0,)}


def test_a_callback_that_looks_at_the_maps_so_far():
    pipe = tiny.sd()
    seen = []

    def look(_, step, timestep, tensors):
        seen.append(run.maps["cat"].array.copy())
        return {}

    call = calling(pipe, steps=3, callback_on_step_end=look)
    with attend(pipe, PROMPT, NEGATIVE) as run:
        call(**run.inputs)
    assert len(seen) == 3
    assert (seen[-1] == run.maps["cat"].array).all()
    assert not (seen[0] == seen[-1]).all()
