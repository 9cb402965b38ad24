"""Embedding methods in whole runs: what weights leave alone, negative prompts, batches, warnings and errors."""

import inspect
import re
import warnings

import embedding_oracles as oracle
import pytest
import tiny_pipelines as tiny
import torch

import promptattn
from promptattn.errors import ConfigError, PromptAttnWarning, UnsupportedModelError, WeightingError
from promptattn.weighting import EMBEDDING_METHODS, EmbeddingWeighting

KINDS = {**tiny.PIPELINES, **{kind: tiny.JOINT_PIPELINES[kind] for kind in ("sd3", "flux")}}
TEXT, NEGATIVE = "a red cat and a gray mouse", "ugly blurry picture"
LENGTH = 40


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def pipe(kind):
    return KINDS[kind]()


def options_of(pipe):
    return dict(max_sequence_length=LENGTH) if hasattr(pipe, "transformer") else {}


def inputs_of(pipe, prompt, negative=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptAttnWarning)
        with promptattn.attend(pipe, prompt, negative, capture=False, **options_of(pipe), **options) as run:
            return run.inputs


def image(pipe, **options):
    guided = dict(true_cfg_scale=3.0) if type(pipe).__name__ == "FluxPipeline" else dict(guidance_scale=4.0)
    generator = torch.Generator().manual_seed(0)
    size = dict(num_inference_steps=2, height=32, width=32, output_type="latent", generator=generator)
    return pipe(**size, **guided, **options).images


def differing(one, other):
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(torch.as_tensor(one[name]), torch.as_tensor(other[name]))]


@pytest.mark.parametrize("method", EMBEDDING_METHODS)
def test_without_weights_the_image_is_the_stock_one_to_the_bit(pipe, method):
    stock = image(pipe, prompt=TEXT, negative_prompt=NEGATIVE, **options_of(pipe))
    with promptattn.attend(
        pipe, "a (red:1.0) cat and a gray mouse", NEGATIVE, weighting=method, **options_of(pipe)
    ) as run:
        assert torch.equal(image(pipe, **run.inputs), stock)
    assert run.maps["cat"].array.sum() > 0


@pytest.mark.parametrize("method", EMBEDDING_METHODS)
def test_weights_act_on_the_embeddings_and_nowhere_else(pipe, method):
    weighted = "a (red:1.6) cat and a (gray:0.4) mouse"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptAttnWarning)
        with promptattn.attend(pipe, weighted, NEGATIVE, weighting=method, **options_of(pipe)) as run:
            ours = image(pipe, **run.inputs)
    assert torch.equal(ours, image(pipe, **run.inputs))  # the stock pipeline with these embeddings
    plain = inputs_of(pipe, TEXT, NEGATIVE, weighting=method)
    assert differing(run.inputs, plain) == ["prompt_embeds"]
    assert not torch.equal(ours, image(pipe, **plain))


@pytest.mark.parametrize("method", EMBEDDING_METHODS)
def test_a_negative_prompt_is_weighted_on_its_own_rows(pipe, method):
    weighted, options = "(ugly:1.5) (blurry:0.5) picture", dict(weighting=method)
    ours = inputs_of(pipe, TEXT, weighted, **options)
    assert differing(ours, inputs_of(pipe, TEXT, NEGATIVE, **options)) == ["negative_prompt_embeds"]
    assert torch.equal(ours["negative_prompt_embeds"], inputs_of(pipe, weighted, **options)["prompt_embeds"])


@pytest.mark.parametrize("method", EMBEDDING_METHODS)
@pytest.mark.parametrize("kind", ["sdxl", "sd3", "flux"], indirect=True)
def test_every_prompt_of_a_batch_is_weighted_as_if_alone(pipe, kind, method):
    prompts = ["a (red:1.6) cat", TEXT, "(un:0.3) (gato:-0.5) (rojo:1.2)", "(a:0) (dog:2)"]
    chosen = EmbeddingWeighting(method, pooled=method in ("comfy++", "down_weight"))
    options = dict(weighting=chosen, num_images_per_prompt=2)
    together = inputs_of(pipe, prompts, NEGATIVE, **options)
    alone = [inputs_of(pipe, prompt, NEGATIVE, **options) for prompt in prompts]
    for name, value in together.items():
        if isinstance(value, torch.Tensor):
            expected = torch.cat([inputs[name] for inputs in alone])
            assert value.shape == expected.shape
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def test_a_batch_of_several_images_goes_through_the_denoiser(pipe):
    inputs = inputs_of(
        pipe, ["a (red:1.6) cat", "un (gato:0)"], "(ugly:1.3)", weighting="comfy++", num_images_per_prompt=2
    )
    images = image(pipe, **inputs)
    assert len(images) == 4
    assert images.isfinite().all()


@pytest.mark.parametrize("method", ["comfy", "compel", "comfy++", "down_weight"])
@pytest.mark.parametrize("kind", ["sd", "sd3"], indirect=True)
def test_half_precision_is_weighted_without_losing_more(kind, method):
    pipe = KINDS[kind]()
    expected = inputs_of(pipe, "a (red:1.6) cat and a (gray:0.4) mouse", weighting=method)["prompt_embeds"]
    pipe.to(torch.bfloat16)
    found = inputs_of(pipe, "a (red:1.6) cat and a (gray:0.4) mouse", weighting=method)["prompt_embeds"]
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.parametrize("method", EMBEDDING_METHODS)
def test_weights_that_cannot_act_are_said(method):
    prompt = "a (r:2)ed cat" + ", masterpiece" * 60
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with promptattn.attend(tiny.sd3(), prompt, weighting=method, max_sequence_length=LENGTH):
            pass
    messages = " ".join(str(warning.message) for warning in said if warning.category is PromptAttnWarning)
    assert "is one token across the weights 2 and 1" in messages
    assert "more do not fit: masterpiece" in messages.replace(" , ", " ")


def test_a_window_whose_mean_cannot_be_restored_is_said():
    run = promptattn.attend(tiny.sd(), "a (red:1.4) cat", weighting="a1111")  # its last norm leaves rows of mean 0
    with pytest.warns(PromptAttnWarning, match="mean of a window of the text embedding is 0"):
        run.__enter__()
    run.__exit__(None, None, None)
    plain = inputs_of(tiny.sd(), "a (red:1.4) cat", weighting=EmbeddingWeighting("a1111", restore_mean=False))
    assert torch.equal(run.inputs["prompt_embeds"], plain["prompt_embeds"])


@pytest.mark.parametrize("method", ["comfy++", "down_weight"])
def test_a_tokenizer_without_a_token_to_mask_with_is_named(method):
    pipe = tiny.flux()
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.0), ("▁cat", -1.0)]
    pipe.tokenizer_2 = type(pipe.tokenizer_2)(vocab=pieces, extra_ids=0, model_max_length=LENGTH)
    match = "text_encoder_2: its tokenizer has neither '\\+' nor ','.*comfy\\+\\+ and down_weight"
    with pytest.raises(WeightingError, match=match):
        inputs_of(pipe, "a (cat:2)", weighting=method)
    assert torch.is_tensor(inputs_of(pipe, "a cat", weighting=method)["prompt_embeds"])
    assert torch.is_tensor(inputs_of(pipe, "a (cat:2)", weighting="compel")["prompt_embeds"])
    assert not pipe.text_encoder_2._forward_pre_hooks


@pytest.mark.parametrize("method", ["comfy", "compel", "comfy++"])
def test_a_weight_beyond_all_numbers_is_refused(method):
    pipe = tiny.sd()
    pipe.text_encoder.half()
    match = rf"^{re.escape(method)}: a weight of 1e\+07 makes text embeddings too large for float16"
    with pytest.raises(WeightingError, match=match):
        inputs_of(pipe, "a (red:10000000) cat", weighting=method)
    assert inputs_of(pipe, "a (red:3) cat", weighting=method)["prompt_embeds"].isfinite().all()


def test_a_pipeline_without_pooled_embedding_has_none_to_weigh():
    method = EmbeddingWeighting("comfy++", pooled=True)
    with pytest.raises(ConfigError, match="pooled=True: StableDiffusionPipeline takes no pooled embedding"):
        inputs_of(tiny.sd(), "a (red:2) cat", weighting=method)


def test_an_encoder_whose_channels_cannot_be_told_is_refused():
    pipe = tiny.sd()
    stock = pipe.encode_prompt
    pipe.encode_prompt = lambda *args, **options: [
        None if text is None else torch.nn.functional.pad(text, (0, 5)) for text in stock(*args, **options)
    ]
    pipe.encode_prompt.__signature__ = inspect.signature(stock)
    with pytest.raises(UnsupportedModelError, match="text embeddings of 37 channels, but its text_encoder together 32"):
        inputs_of(pipe, "a (red:2) cat", weighting="comfy")


def test_maps_say_by_what_method_they_were_made():
    pipe = tiny.sd()
    method = EmbeddingWeighting("comfy", normalisation="mean")
    with promptattn.attend(pipe, "a (red:2) cat", weighting=method) as run:
        image(pipe, **run.inputs)
    assert {key: run.maps.meta[key] for key in ("weighting", "normalisation")} == {
        "weighting": "comfy",
        "normalisation": "mean",
    }


def test_the_readings_of_the_encoders_leave_nothing_behind():
    pipe = oracle.lively(tiny.sdxl())
    before = pipe.encode_prompt(TEXT, do_classifier_free_guidance=False)
    for method in EMBEDDING_METHODS:
        inputs_of(pipe, "a (red:0.4) cat", weighting=method)
    after = pipe.encode_prompt(TEXT, do_classifier_free_guidance=False)
    assert torch.equal(before[0], after[0])
    assert not any(encoder._forward_hooks for encoder in (pipe.text_encoder, pipe.text_encoder_2))
