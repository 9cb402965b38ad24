"""Prompts that are unlike the usual ones, in pipelines that read them inside a template."""

import pytest
import torch
from families.registry import FAMILIES
from families.watching import watch

import promptattn
from promptattn.errors import ConfigError, PromptAttnWarning

# The tokens of "a cat, a cat, ...": more than each of these pipelines takes.
LONG = "a cat, " * 600
TAKEN = {"qwen-image": 512, "longcat": 512, "krea2": 59}


@pytest.fixture(scope="module")
def pipes():
    return {name: FAMILIES[name].make() for name in TAKEN}


def drawn(pipe, family, inputs):
    """The image of a call that gets what a run gives it."""
    arguments = {key: value for key, value in family.arguments().items() if "prompt" not in key}
    return pipe(**arguments | inputs).images


def attend(pipe, family, prompt, negative="ugly", **options):
    length = family.call.get("max_sequence_length")
    return promptattn.attend(pipe, prompt, negative, max_sequence_length=length, **options)


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.filterwarnings("ignore:.*would have a language model rewrite")
def test_a_prompt_that_is_cut_is_the_stock_one_and_names_what_is_lost(pipes, name):
    pipe, family = pipes[name], FAMILIES[name]
    expected = pipe(**family.arguments(LONG, "ugly")).images
    told = f"takes {TAKEN[name]} tokens of text; .* more do not fit"
    with pytest.warns(PromptAttnWarning, match=told), attend(pipe, family, LONG) as run:
        assert torch.equal(drawn(pipe, family, run.inputs), expected)
    (plan,) = run.plans[0].encoders
    assert len(plan.tokens) == TAKEN[name]
    assert [token.slot for token in plan.tokens] == list(range(TAKEN[name]))
    assert plan.cut[-1].text == ","
    assert run.maps["cat"].array.max() > 0


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("text", [",", "assistant", "user", "the image", "", "  ", "\n\tcat\n\n red \t", "{} %s {0}"])
@pytest.mark.filterwarnings("ignore:.*would have a language model rewrite")
def test_texts_that_stand_in_the_template_too_are_read_where_the_prompt_is(pipes, name, text):
    pipe, family = pipes[name], FAMILIES[name]
    length = family.call.get("max_sequence_length")
    (plan,) = promptattn.plan(pipe, text, max_sequence_length=length).encoders
    stock = watch(pipe, family.arguments() | {"prompt": text}).readings["text_encoder"]
    assert stock.ids[0][0].tolist() == list(plan.chunks[0].ids)
    assert "".join(word.text for word in plan.words) == "".join(text.split())
    ids, kept = plan.chunks[0].ids, plan.kept.rows(plan.window)
    for token in plan.tokens:
        assert ids[kept[token.slot]] == token.id
    # Words of a template are no marks of the tokenizer's.
    assert not plan.diagnostics


def test_marks_of_a_template_in_a_prompt_are_named(pipes):
    plan = promptattn.plan(pipes["qwen-image"], "cat<|im_end|>dog")
    (found,) = plan.encoders[0].diagnostics
    assert found.code == "special-token"
    assert "<|im_end|>" in found.message


def test_another_prompt_than_the_runs_is_told_although_its_negative_is_the_same(pipes):
    pipe, family = pipes["qwen-image"], FAMILIES["qwen-image"]
    expected = pipe(**family.arguments("a dog", "ugly")).images
    told = "nothing of the prompt was weighted or recorded: .* negative prompt alone"
    with pytest.warns(PromptAttnWarning, match=told), attend(pipe, family, "a (cat:0)", where="denoiser") as run:
        assert torch.equal(pipe(**family.arguments("a dog", "ugly")).images, expected)
    with pytest.raises(promptattn.CaptureError, match="negative prompt alone"):
        run.maps  # noqa: B018


@pytest.mark.parametrize(("prompt", "negative"), [("cat", " cat "), (["cat", "dog"], ["ugly", "cat"])])
def test_a_prompt_that_is_a_negative_one_too_is_refused(pipes, prompt, negative):
    with pytest.raises(ConfigError, match="the same text, 'cat'"):
        attend(pipes["qwen-image"], FAMILIES["qwen-image"], prompt, negative)


def test_an_interruption_inside_the_text_encoder_leaves_nothing_behind(pipes):
    pipe, family = pipes["qwen-image"], FAMILIES["qwen-image"]

    def interrupt(*args):
        raise KeyboardInterrupt

    kind, processors = type(pipe.tokenizer), dict(pipe.transformer.attn_processors)
    handle = pipe.text_encoder.register_forward_pre_hook(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), attend(pipe, family, "a (cat:0)", where="both") as run:
            drawn(pipe, family, run.inputs)
    finally:
        handle.remove()
    assert "encode_prompt" not in vars(pipe)
    assert type(pipe.tokenizer) is kind
    assert pipe.transformer.attn_processors == processors
    assert not pipe.text_encoder._forward_pre_hooks
