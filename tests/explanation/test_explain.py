"""What is explained is what plan() and attend() do; nothing is loaded for it."""

import json
from typing import ClassVar

import pytest
import tiny_pipelines as tiny
import torch

import promptattn
from promptattn.errors import ConfigError, UnsupportedModelError
from promptattn.prompt import parse, plan
from promptattn.weighting import EmbeddingWeighting, Weighting


@pytest.fixture(scope="module")
def sd():
    return tiny.sd()


@pytest.fixture(scope="module")
def folder(sd, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    sd.save_pretrained(folder)
    return str(folder)


def codes(explained):
    return [note.code for note in explained.notes]


def only(explained):
    (part,) = explained.prompt.parts
    (moment,) = part.moments
    (text,) = moment.texts
    return text.encoders


PROMPT = "un (gato:1.4) (rojo:0.2) BREAK y ((un:-1) ratón:1.5), \\[x\\]"


def test_tokens_words_and_chunks_are_those_of_the_plan(sd):
    planned = plan(sd, PROMPT)
    weighting = Weighting()
    for encoder, expected in zip(only(promptattn.explain(PROMPT, sd)), planned.encoders, strict=True):
        assert (encoder.name, encoder.window) == (expected.name, expected.window)
        assert encoder.chunks == tuple(len(chunk.tokens) for chunk in expected.chunks)
        for token, other in zip(encoder.tokens, expected.tokens, strict=True):
            assert (token.id, token.text, token.weight) == (other.id, other.text, other.weight)
            assert (token.chunk, token.row) == (other.chunk, other.slot)
            assert token.denoiser == weighting.in_denoiser(other.weight)
            assert token.text_encoder == weighting.in_text_encoder(other.weight)
        assert [(word.text, word.weight, word.tokens) for word in encoder.words] == [
            (word.text, word.weight, word.tokens) for word in expected.words
        ]


def test_a_name_and_its_pipeline_are_explained_alike_and_no_weights_are_loaded(sd, folder, monkeypatch):
    loaded = promptattn.load(folder)

    def refuse(*args, **kwargs):
        raise AssertionError("weights were loaded")

    for owner, name in ((torch, "load"), (torch.nn.Module, "__init__")):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr("safetensors.torch.load_file", refuse)
    by_name = promptattn.explain(PROMPT, folder, "ugly")
    assert by_name == promptattn.explain(PROMPT, loaded, "ugly")


def test_the_tree_carries_weights_after_nesting_and_places(sd):
    explained = promptattn.explain("a ((red:1.5) cat:2) BREAK dog", sd)
    found = [(node.kind, (node.text or "").strip(), node.weight) for node in explained.prompt.tree]
    assert found == [
        ("text", "a", 1.0),
        ("text", "red", 3.0),
        ("text", "cat", 2.0),
        ("break", "", None),
        ("text", "dog", 1.0),
    ]
    red = explained.prompt.tree[1]
    assert explained.prompt.source[red.start : red.end] == "red"


def test_where_a_weight_acts_is_told_word_by_word(sd):
    def acts(**options):
        (encoder,) = only(promptattn.explain("a (red:1.4) (cat:0.1)", sd, **options))
        return [word.acts for word in encoder.words]

    assert acts() == [(), ("denoiser",), ("denoiser", "text encoder")]
    assert acts(where="denoiser") == [(), ("denoiser",), ("denoiser",)]
    assert acts(where="text") == [(), ("text encoder",), ("text encoder",)]
    assert acts(weighting="prompt-to-prompt") == [(), ("denoiser",), ("denoiser",)]
    assert acts(weighting="comfy") == [(), ("embeddings",), ("embeddings",)]


@pytest.mark.parametrize(("before", "readers"), [(20, 3), (60, 1), (400, 0)])
def test_a_cut_word_is_told_and_its_weight_does_nothing(before, readers):
    pipe = tiny.sd3()
    prompt = "cat, " * before + "(dog:1.5)"
    explained = promptattn.explain(prompt, pipe)
    planned = plan(pipe, prompt)
    for encoder, expected in zip(only(explained), planned.encoders, strict=True):
        assert encoder.cut == tuple(word.text for word in expected.cut)
        assert encoder.words[-1].state == ("cut" if expected.cut else "read")
    assert [encoder.words[-1].state for encoder in only(explained)].count("read") == readers
    idle = [note.message for note in explained.notes if note.code == "idle-weight"]
    assert idle == (
        [] if readers else ["the weight 1.5 of 'dog' does nothing: it is cut off: no text encoder reads it"]
    )
    cut = [found for found in explained.findings if found.code == "cut-words"]
    assert len(cut) == sum(bool(each.cut) for each in planned.encoders)


def test_flux_hears_clip_as_one_vector_only():
    explained = promptattn.explain("a (red:1.4) cat", tiny.flux())
    assert explained.model.attention == "joint"
    assert {encoder.name: encoder.role for encoder in explained.model.encoders} == {
        "text_encoder": "pooled",
        "text_encoder_2": "rows",
    }
    clip, t5 = only(explained)
    assert [word.acts for word in clip.words] == [(), (), ()]
    assert {token.denoiser for token in clip.tokens} == {None}
    assert [word.acts for word in t5.words if word.text == "red"] == [("denoiser",)]
    (note,) = [note for note in explained.notes if note.code == "pooled-only"]
    assert "no weight acts there" in note.message
    both = promptattn.explain("a (red:1.4) cat", tiny.flux(), where="both")
    assert "weights act inside it only" in next(note.message for note in both.notes if note.code == "pooled-only")


def test_an_encoder_that_is_not_there_is_named():
    pipe = tiny.JOINT_PIPELINES["sd3-no-t5"]()
    explained = promptattn.explain("a (red:1.4) cat", pipe)
    assert [encoder.role for encoder in explained.model.encoders] == ["rows", "rows", "absent"]
    assert "no-encoder" in codes(explained)
    assert len(only(explained)) == 2


def test_a_negative_prompt_has_a_reading_and_findings_of_its_own(sd):
    explained = promptattn.explain("a cat", sd, "an (ugly:1.2) ((dog")
    (encoder,) = explained.negative.texts[0].encoders
    assert [word.weight for word in encoder.words] == [1.0, 1.2, 1.21]
    (found,) = explained.findings
    assert found.source == "negative_prompt"
    assert found.pointer.splitlines()[1].index("^") - 2 == "an (ugly:1.2) ((dog".index("((")
    true_cfg = promptattn.explain("a cat", tiny.flux(), "ugly")
    assert any("true_cfg_scale above 1" in note.message for note in true_cfg.notes)


def test_a_denoiser_that_is_not_served_is_said_and_tokens_are_told_all_the_same(sd):
    class Other:
        config: ClassVar = {"_name_or_path": "other", "transformer": ("diffusers", "OtherTransformer2DModel")}
        tokenizer = sd.tokenizer
        text_encoder = sd.text_encoder
        transformer = torch.nn.Identity()

        def __call__(self, prompt=None):
            raise NotImplementedError

    explained = promptattn.explain("a (red:1.4) cat", Other())
    assert explained.model.attention == "unknown"
    assert codes(explained)[0] == "unserved"
    assert [word.text for word in only(explained)[0].words] == ["a", "red", "cat"]


@pytest.mark.parametrize(
    ("prompt", "options", "code"),
    [
        ("a cat", {}, "unweighted"),
        ("a (cat:1.2)", {}, "method"),
        ("a (cat:-1)", {}, "negative-weight"),
        ("a (cat:-1)", dict(weighting="a1111"), "negative-weight"),
        ("a (cat:3)", dict(weighting="a1111"), "overweight"),
        ("a (cat:3)", dict(weighting=EmbeddingWeighting("comfy")), "method"),
    ],
)
def test_notes(sd, prompt, options, code):
    assert code in codes(promptattn.explain(prompt, sd, **options))


def test_negpip_is_told_where_keys_are_normalised():
    assert "negpip-joint" in codes(promptattn.explain("a (cat:-1)", tiny.sd3(), weighting="negpip"))


def test_a_schedule_is_told_moment_by_moment(sd):
    explained = promptattn.explain("a [(red:1.2):blue:0.25] cat", sd, steps=8)
    (schedule,) = [node for node in explained.prompt.tree if node.kind == "schedule"]
    assert (schedule.when, schedule.unit, schedule.switch) == (0.25, "fraction", 2)
    assert [child.kind for child in schedule.children] == ["before", "after"]
    first, second = explained.prompt.parts[0].moments
    assert (first.steps, second.steps) == (((0, 1),), ((2, 7),))
    assert [word.weight for word in first.texts[0].encoders[0].words] == [1.0, 1.2, 1.0]
    assert second.texts[0].text == "a blue cat"


def test_taking_turns_is_told_once_for_each_option(sd):
    explained = promptattn.explain("a [red|blue] cat", sd, steps=5)
    first, second = explained.prompt.parts[0].moments
    assert first.steps == ((0, 0), (2, 2), (4, 4))
    assert second.steps == ((1, 1), (3, 3))


def test_a_schedule_beyond_the_last_step_is_found(sd):
    explained = promptattn.explain("a [red:blue:50] cat", sd, steps=8)
    assert "late-schedule" in [found.code for found in explained.findings]
    assert len(explained.prompt.parts[0].moments) == 1


def test_prompts_that_are_added_are_parts(sd):
    explained = promptattn.explain("a cat AND a (dog:1.2):0.5", sd)
    assert [part.weight for part in explained.prompt.parts] == [1.0, 0.5]
    assert "and" in codes(explained)
    assert "negative-and" in codes(promptattn.explain("a cat", sd, "a dog AND a mouse"))


def test_a_blend_is_told_text_by_text(sd):
    written = '("a (red)1.2 cat", "a dog").blend(3, 1)'
    explained = promptattn.explain(written, sd, syntax="compel")
    (moment,) = explained.prompt.parts[0].moments
    assert [(text.text, text.weight) for text in moment.texts] == [("a red cat", 0.75), ("a dog", 0.25)]
    assert parse(moment.prompt, "compel") == parse(written, "compel")
    assert "blend" in codes(explained)
    assert promptattn.explain(parse(written, "compel"), sd).prompt.parts == explained.prompt.parts


def test_a_text_that_is_normalised_at_once_is_said_to_undo_scaling(sd):
    class Other:
        config: ClassVar = {"transformer": ("diffusers", "QwenImageTransformer2DModel")}
        tokenizer = sd.tokenizer

        def __call__(self, prompt=None):
            raise NotImplementedError

    assert "inert-method" in codes(promptattn.explain("a (red:1.4) cat", Other(), weighting="a1111"))
    assert "inert-method" not in codes(promptattn.explain("a (red:1.4) cat", Other()))


def test_it_is_json_with_nothing_lost(sd):
    explained = promptattn.explain(PROMPT, sd, "ugly", steps=3)
    data = json.loads(json.dumps(explained.as_dict(), allow_nan=False))
    assert data == explained.as_dict()
    assert data["steps"] == 3
    assert data["method"]["name"] == "attention"
    (text,) = data["prompt"]["parts"][0]["moments"][0]["texts"]
    assert [token["id"] for token in text["encoders"][0]["tokens"]] == [
        token.id for token in plan(sd, PROMPT).encoders[0].tokens
    ]


def test_a_parsed_prompt_is_explained_like_its_text(sd):
    assert promptattn.explain(parse(PROMPT), sd) == promptattn.explain(PROMPT, sd)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(syntax="latin"), ConfigError, "latin"),
        (dict(weighting="atention"), ConfigError, "attention"),
        (dict(weighting="comfy", where="text"), ConfigError, "where='text'"),
        (dict(steps=0), ConfigError, "steps=0"),
        (dict(pipe_or_name="no-such-model"), UnsupportedModelError, "no model"),
    ],
)
def test_what_cannot_be_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        promptattn.explain("a cat", **options)
