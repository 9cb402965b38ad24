"""What holds for every method alike: options, settings that make the image again, findings that reach the user."""

import json
import warnings

import pytest
import tiny_pipelines as tiny

import promptattn
from promptattn.errors import ConfigError, PromptAttnWarning
from promptattn.weighting import EMBEDDING_METHODS, METHODS, EmbeddingWeighting, Weighting

SIZE = dict(height=16, width=16)
WEIGHTED = "a (red:1.6) cat and a (gray mouse:0.7)"
IN_ATTENTION = [name for name in METHODS if name not in EMBEDDING_METHODS]


def pixels(generation):
    return [list(image.getdata()) for image in generation.images]


def made(pipe, prompt, steps=2, **options):
    return promptattn.generate(pipe, prompt, num_inference_steps=steps, **SIZE, **options)


@pytest.mark.parametrize("method", METHODS)
def test_settings_make_the_image_again(method):
    pipe = tiny.sd()
    first = made(pipe, WEIGHTED, weighting=method, negative_prompt="(ugly:1.3)")
    settings = json.loads(json.dumps(first.settings))
    assert settings["weighting"] == method
    names = ("normalisation", "restore_mean", "pooled") if method in EMBEDDING_METHODS else ("where", "strength")
    assert {"where", "strength", "normalisation", "restore_mean", "pooled", "rule", "method"} & set(settings) == {
        *names
    }
    options = {name: settings[name] for name in names}
    again = EmbeddingWeighting(method, **options) if method in EMBEDDING_METHODS else method
    other = options if method not in EMBEDDING_METHODS else {}
    second = made(pipe, settings["prompt"], weighting=again, negative_prompt=settings["negative_prompt"], **other)
    assert pixels(second) == pixels(first)
    plain = made(pipe, "a red cat and a gray mouse", negative_prompt="ugly")
    assert pixels(plain) != pixels(first)
    assert first.maps["red"].array.shape == plain.maps["red"].array.shape


@pytest.mark.parametrize(
    "method",
    [
        Weighting("denoiser", 4.0),
        Weighting(rule="negpip"),
        EmbeddingWeighting("a1111", "length+mean", restore_mean=False),
        EmbeddingWeighting("comfy++", pooled=True),
    ],
    ids=lambda method: method.name,
)
def test_options_of_a_method_are_recorded(method):
    settings = made(tiny.sdxl(), WEIGHTED, weighting=method, capture=False).settings
    recorded = {name: settings[name] for name in vars(method) if name not in ("rule", "method")}
    assert recorded == {name: value for name, value in vars(method).items() if name not in ("rule", "method")}
    assert settings["weighting"] == method.name


@pytest.mark.parametrize("method", IN_ATTENTION)
def test_steps_and_layers_act_where_they_are_told(method):
    pipe = tiny.sd()
    images = {
        name: pixels(made(pipe, WEIGHTED, 5, weighting=method, capture=False, **options))
        for name, options in {
            "first 40 %": dict(weight_steps=(0.0, 0.4)),
            "first two": dict(weight_steps=[0, 1]),
            "all": {},
            "all, said": dict(layers=["down_blocks", "mid_block", "up_blocks"], weight_steps=(0.0, 1.0)),
            "one layer": dict(layers="mid_block"),
        }.items()
    }
    assert images["first 40 %"] == images["first two"]
    assert images["all"] == images["all, said"]
    distinct = {str(images[name]) for name in ("first 40 %", "all", "one layer")}
    assert len(distinct) == 3


@pytest.mark.parametrize("method", ["attention", "prompt-to-prompt"])
def test_rows_of_joint_attention(method):
    pipe = tiny.sd3()
    image, every = (
        made(pipe, WEIGHTED, weighting=method, rows=rows, capture=False, max_sequence_length=24)
        for rows in ("image", "all")
    )
    assert (image.settings["rows"], every.settings["rows"]) == ("image", "all")
    assert pixels(image) != pixels(every)


def test_all_rows_are_refused_where_only_the_image_attends_to_the_text():
    pipe = tiny.sd()
    with pytest.raises(ConfigError, match="rows='all': in UNet2DConditionModel only the image attends"):
        promptattn.attend(pipe, "a (red:1.3) cat", rows="all").__enter__()
    assert not pipe.unet._forward_hooks


@pytest.mark.parametrize("method", EMBEDDING_METHODS)
@pytest.mark.parametrize("options", [dict(layers="mid_block"), dict(weight_steps=(0.0, 0.4)), dict(rows="all")])
def test_embedding_methods_refuse_them_before_anything_runs(method, options):
    pipe = tiny.sd()
    pipe.unet.register_forward_pre_hook(lambda *args: pytest.fail("the denoiser was called"))
    with pytest.raises(ConfigError, match="which every layer, step and row of the image reads alike"):
        made(pipe, WEIGHTED, weighting=method, **options)


@pytest.mark.parametrize("method", METHODS)
def test_cut_words_and_merged_tokens_are_told(method):
    """A token across two weights, and words that do not fit, reach the user of generate() whatever the method."""
    prompt = "a re(d:1.4) cat and " + "a gray mouse on a blue table " * 3
    told, pipe, options = ["is one token across the weights 1 and 1.4"], tiny.sd(), {}
    if method != "negpip":  # whose models have no encoder that cuts anything
        told, pipe, options = [*told, "text_encoder_3 takes"], tiny.sd3(), dict(max_sequence_length=24)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        made(pipe, prompt, 1, weighting=method, capture=False, **options)
    messages = [str(each.message) for each in found if issubclass(each.category, PromptAttnWarning)]
    for part in told:
        assert any(part in message for message in messages), messages


@pytest.mark.parametrize(
    ("prompt", "options", "told"),
    [
        ("a (red:3) (cat:4)", dict(weighting="a1111"), "'cat' has weight 4 (and 1 more): a1111 broke"),
        ("a (red:30) (cat:1.1)", dict(where="denoiser", strength="exact"), "'red' has weight 30: plain odds of 20"),
        ("a [(red:3):blue:0.5] cat", dict(weighting="a1111"), "'red' has weight 3: a1111 broke"),
    ],
)
def test_too_much_weight_is_said_once_a_run(prompt, options, told):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        made(tiny.sd(), prompt, 2, capture=False, **options)
    messages = [str(each.message) for each in found if "(docs/" in str(each.message)]
    assert len(messages) == 1
    assert messages[0].startswith(told)


def test_no_word_of_it_where_nothing_is_too_much():
    with warnings.catch_warnings():
        warnings.simplefilter("error", PromptAttnWarning)
        made(tiny.sd(), "a (red:99) cat", 1, capture=False)
