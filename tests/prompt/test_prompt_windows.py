"""How many tokens each encoder of a pipeline reads: CLIP's window, T5's `max_sequence_length`, and what is cut."""

from types import SimpleNamespace

import pytest
import tiny_pipelines as tiny
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promptattn.errors import ConfigError
from promptattn.prompt import parse, plan

LONG = " ".join(["a red cat and a gray mouse on a blue table"] * 12)


class Pipeline(SimpleNamespace):
    """Any pipeline around a transformer whose call has a default length, as those of SD3 and Flux."""

    def __call__(self, prompt, *, max_sequence_length=256):
        raise NotImplementedError


def sd3(t5=True, kind=Pipeline):
    clips = dict(text_encoder=object(), tokenizer=tiny.clip_tokenizer(), transformer=object())
    clips |= dict(text_encoder_2=object(), tokenizer_2=tiny.clip_tokenizer(pad="!"))
    last = dict(text_encoder_3=object(), tokenizer_3=tiny.t5_tokenizer())
    return kind(**clips, **(last if t5 else dict.fromkeys(last)))


def windows(plan):
    return {encoder.name: encoder.window for encoder in plan.encoders}


def test_the_window_is_what_the_pipeline_uses_by_default_and_not_what_the_tokenizer_says():
    assert sd3().tokenizer_3.model_max_length == tiny.T5_WINDOW
    assert windows(plan(sd3(), "a cat")) == {"text_encoder": 77, "text_encoder_2": 77, "text_encoder_3": 256}


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_the_default_comes_from_the_signature_of_the_real_pipelines(name):
    pipe = tiny.JOINT_PIPELINES[name]()
    assert plan(pipe, "a cat", "ugly").encoders[-1].window == {"sd3": 256, "flux": 512}[name]
    assert plan(pipe, "a cat", "ugly").negative[-1].window == {"sd3": 256, "flux": 512}[name]


def test_the_length_given_by_the_user_counts_for_t5_and_never_for_clip():
    assert windows(plan(sd3(), "a cat", max_sequence_length=24)) == {
        "text_encoder": 77,
        "text_encoder_2": 77,
        "text_encoder_3": 24,
    }


def test_a_pipeline_without_that_argument_keeps_the_tokenizer_s_window():
    assert plan(sd3(kind=SimpleNamespace), "a cat")["text_encoder_3"].window == tiny.T5_WINDOW


@pytest.mark.parametrize("length", [0, -3, 1.5, "24", True])
def test_a_length_that_is_no_count_is_refused(length):
    with pytest.raises(ConfigError, match=rf"max_sequence_length={length!r} must be a whole number from 1"):
        plan(sd3(), "a cat", max_sequence_length=length)


def test_a_length_that_leaves_no_room_is_refused_with_the_encoder_s_name():
    with pytest.raises(ConfigError, match="text_encoder_3: a window of 1 tokens leaves no room"):
        plan(sd3(), "a cat", max_sequence_length=1)


def test_a_length_for_a_pipeline_that_takes_none_is_refused():
    with pytest.raises(ConfigError, match="StableDiffusionPipeline takes no max_sequence_length"):
        plan(tiny.sd(), "a cat", max_sequence_length=24)


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=80) | st.lists(st.sampled_from(LONG.split()), max_size=60).map(" ".join),
    st.sampled_from([3, 24, 256]),
)
@example("  two  spaces,\tand a\nline ", 24)
@example("persigue a una estrella, cafe\u0301 日本 😀", 24)
def test_t5_ids_are_those_of_the_tokenizer_s_own_call(text, length):
    prompt, pipe = parse(text), sd3()
    planned = plan(pipe, prompt, max_sequence_length=length)["text_encoder_3"]
    own = pipe.tokenizer_3(prompt.text, padding="max_length", max_length=length, truncation=True)
    assert [list(chunk.ids) for chunk in planned.chunks] == [own.input_ids]
    read = [slot.kind != "padding" for slot in planned.slots]
    assert read == [bool(seen) for seen in own.attention_mask]


def test_weights_stand_at_the_words_in_every_encoder():
    planned = plan(sd3(), "a (persigue:1.5) castle (ratón:0.5)", max_sequence_length=24)
    for encoder in planned.encoders:
        read = {}
        for token in encoder.tokens:
            read.setdefault(encoder.words[token.word].text, set()).add(token.weight)
            assert encoder.chunks[0].weights[token.slot] == token.weight
        assert read == {"a": {1.0}, "persigue": {1.5}, "castle": {1.0}, "ratón": {0.5}}
    assert len([t for t in planned["text_encoder_3"].tokens if t.weight == 1.5]) > 1  # a word of several tokens


@pytest.mark.parametrize("t5", [True, False])
def test_a_pipeline_around_a_transformer_never_chunks(t5):
    planned = plan(sd3(t5), f"{LONG} BREAK a dog", LONG)
    for encoder in (*planned.encoders, *planned.negative):
        assert len(encoder.chunks) == 1
    assert {e.name for e in planned.encoders if e.cut} == {"text_encoder", "text_encoder_2"}
    assert planned.equalised() == planned
    assert "break-ignored" in {found.code for found in planned.diagnostics}


def test_a_unet_still_chunks():
    assert len(plan(tiny.sdxl(), LONG)["text_encoder"].chunks) > 1


def test_what_clip_cuts_and_t5_reads_is_said():
    planned = plan(sd3(), LONG, LONG)
    cut = [found for found in planned.diagnostics if found.code == "cut-words"]
    assert [found.source for found in cut] == ["prompt", "prompt", "negative_prompt", "negative_prompt"]
    for found, name in zip(cut, ["text_encoder", "text_encoder_2"] * 2, strict=True):
        assert found.message.startswith(f"{name} takes 75 tokens of text; ")
        assert found.message.endswith("(read by text_encoder_3)")


def test_what_no_encoder_reads_is_not_said_to_be_read():
    by_all = [found for found in plan(sd3(t5=False), LONG).diagnostics if found.code == "cut-words"]
    assert len(by_all) == 2
    assert not any("read by" in found.message for found in by_all)
    by_each = [found for found in plan(sd3(), LONG, max_sequence_length=24).diagnostics if found.code == "cut-words"]
    # The CLIPs read more of it than T5, but not all that T5 cuts; what they cut, T5 cuts too.
    assert len(by_each) == 3
    assert not any("read by" in found.message for found in by_each)


def test_an_encoder_that_is_none_is_left_out():
    assert [encoder.name for encoder in plan(sd3(t5=False), "a cat").encoders] == ["text_encoder", "text_encoder_2"]
