"""Maps of prompts that are several texts: every word of any of them, each with the mass that it had while in force."""

import numpy as np
import pytest
import tiny_pipelines as tiny
import torch
from swapping import encoded, generate, spliced

import promptattn
from promptattn import parse
from promptattn.errors import CaptureError, PromptAttnWarning
from promptattn.export import load
from promptattn.maps.capture import Capture
from promptattn.prompt import Blend, Part, Prompt, Schedule, Span

PROMPT, NEGATIVE = "a [red:(blue:1.4):0.25] cat", "ugly"
RED, BLUE = "a red cat", "a (blue:1.4) cat"
STEPS = dict(capture=Capture(per_step=True))
ALL = {"sd": tiny.sd, "sd3": tiny.sd3, "flux": tiny.flux}


@pytest.fixture(params=list(ALL))
def pipe(request):
    return ALL[request.param]()


@pytest.fixture
def sd():
    return tiny.sd()


def maps_of(pipe, *args, **attend):
    with promptattn.attend(pipe, *args, **{**STEPS, **attend}) as run:
        generate(pipe, **run.inputs)
    return run.maps


def steps_of(maps, word):
    """`[step, layer]` of the map of a word at each layer's own grid, as a list of arrays per step."""
    return [list(maps.step(step).combine("mean")[word].by_layer.values()) for step in range(4)]


def test_each_word_has_its_mass_in_the_steps_in_which_it_is_in_force(pipe):
    """Step by step the maps are those of plain runs over the same latents."""
    recorded = []
    spliced(pipe, [(0, (RED, None, STEPS)), (1, (BLUE, None, STEPS))], maps=recorded)
    red, blue = recorded
    maps = maps_of(pipe, PROMPT)
    assert [word.text for word in maps.words] == ["a", "red", "blue", "cat"]
    assert maps.prompt.text == PROMPT
    assert [PROMPT[word.start : word.end] for word in maps.words] == ["a", "red", "blue", "cat"]
    for word, early, late in (("red", "red", None), ("blue", None, "blue"), ("cat", "cat", "cat"), ("a", "a", "a")):
        found = steps_of(maps, word)
        expected = [
            [np.zeros_like(each) for each in found[step]] if text is None else steps_of(plain, text)[step]
            for step, (plain, text) in enumerate([(red, early), *[(blue, late)] * 3])
        ]
        for step in range(4):
            for ours, theirs in zip(found[step], expected[step], strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
        whole = list(maps.combine("mean")[word].by_layer.values())
        for layer, mass in enumerate(whole):
            np.testing.assert_allclose(mass, np.mean([step[layer] for step in found], axis=0), rtol=0, atol=1e-6)
    assert maps["blue"].weight == 1.4


def test_the_columns_of_a_place_sum_to_one(sd):
    for prompt in (PROMPT, "[a|b|c] dog AND a (cat:1.3) :0.4", ["a [cat|dog]", "red [:, blue and red house:2]"]):
        maps = maps_of(sd, prompt, NEGATIVE)
        for record in maps.records:
            for mass in (record.mass, *record.per_step):
                total = torch.from_numpy(mass).sum(-1)
                torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)


def test_phrases_are_found_in_every_text(sd):
    maps = maps_of(sd, "a [red:dark blue:2] cat on a [red|blue] table")
    assert {"red cat", "blue cat", "dark blue cat", "red table", "blue table"} <= {
        phrase for phrase in ("red cat", "blue cat", "dark blue cat", "red table", "blue table") if phrase in maps
    }
    assert "red blue" not in maps
    assert "blue red" not in maps
    both = maps.combine("mean")
    np.testing.assert_allclose(both["red cat"].array, both["red"].array + both["cat"].array, rtol=0, atol=1e-6)
    assert maps["red", 1].label == "red"
    with pytest.raises(CaptureError, match="stands 2 times"):
        maps["red", 2]
    with pytest.raises(CaptureError, match="dog"):
        maps["dog"]


def test_chosen_words_may_be_of_any_text(sd):
    maps = maps_of(sd, "a [red|blue] cat", capture=Capture(words=["blue cat", "red"]))
    everything = maps_of(sd, "a [red|blue] cat")
    for word in ("red", "blue", "cat"):
        ours, whole = maps.combine("mean")[word].array, everything.combine("mean")[word].array
        np.testing.assert_allclose(ours, whole, rtol=0, atol=1e-6)
    with pytest.raises(CaptureError, match="there is no 'dog' in this prompt"):
        promptattn.attend(sd, "a [red|blue] cat", capture=Capture(words="dog"))
    with pytest.warns(PromptAttnWarning, match="never in force in a run of 4 steps"):
        maps_of(sd, "a [red:blue:20] cat", capture=Capture(words=["blue", "cat"]))


def test_words_in_one_are_one_word_only_where_they_stand_at_one_place(sd):
    maps = maps_of(sd, "[cat:cat:2] c[a|u]t")
    assert [word.text for word in maps.words] == ["cat", "cat", "cat", "cut"]
    first, second, third, cut = (maps.combine("mean")[word].by_layer for word in maps.words)
    for name in first:
        assert min(each[name].max() for each in (first, second, third, cut)) > 0


def test_a_prompt_made_in_code_has_the_words_of_each_text(sd):
    prompt = Prompt((Span("a "), Schedule(Prompt((Span("cat"),)), Prompt((Span("dog", 1.3),)), 2, "step")))
    maps = maps_of(sd, prompt)
    assert [word.text for word in maps.words] == ["a", "cat", "a", "dog"]
    text = maps.prompt.text
    assert [text[word.start : word.end] for word in maps.words] == ["a", "cat", "a", "dog"]


def test_attention_between_words_is_kept_for_each_text(sd):
    maps = maps_of(sd, "a [red|blue] cat")
    names = [text.encoder for text in maps.text_attention]
    assert names == ["text_encoder (text 1 of 2)", "text_encoder (text 2 of 2)"]
    for colour in ("red", "blue"):
        plain = maps_of(sd, f"a {colour} cat")
        assert maps.relation("cat", colour) == pytest.approx(plain.relation("cat", colour), rel=1e-5)
    with pytest.raises(CaptureError, match="did not read"):
        maps.relation("blue", "red")


def test_where_words_look_in_joint_attention():
    pipe = tiny.sd3()
    relations = Capture(relations=["image->text", "text->image", "text->text"], per_step=True)
    recorded = []
    spliced(
        pipe,
        [(0, ("a red cat", None, dict(capture=relations))), (1, ("blue dog", None, dict(capture=relations)))],
        maps=recorded,
    )
    maps = maps_of(pipe, "[a red cat:blue dog:1]", capture=relations)
    first, later = (each.looking() for each in recorded)
    ours = maps.looking()
    for step, plain, word in ((0, first, "cat"), (1, later, "dog"), (3, later, "blue")):
        for name, mass in ours.step(step)[word].by_layer.items():
            np.testing.assert_allclose(mass, plain.step(step)[word].by_layer[name], rtol=0, atol=1e-6)
    assert not ours.step(1)["cat"].normalized.any()
    joint = "transformer text_encoder"
    assert 0 < maps.relation("blue", "dog", encoder=joint) < 1
    assert maps.relation("dog", "red", encoder=joint) == 0


def test_saved_maps_come_back_and_are_shown(sd, tmp_path):
    maps = maps_of(sd, "a [red|blue] cat AND a dog :0.5", NEGATIVE)
    maps.save(tmp_path / "maps")
    again = load(tmp_path / "maps")
    assert again.prompts == maps.prompts
    np.testing.assert_array_equal(again["blue cat"].array, maps["blue cat"].array)
    page = (tmp_path / "maps" / "index.html").read_text(encoding="utf-8")
    assert "a [red|blue] cat AND a dog :0.5" in page


@pytest.mark.parametrize("kind", list(ALL))
def test_a_blend_reads_a_mixture_of_its_parts(kind):
    pipe = ALL[kind]()
    weights = (0.75, 0.25) if kind == "sd" else (1.5, 0.5)
    parts = tuple(Part(parse(text), weight) for text, weight in zip(("a red cat", "dog"), weights, strict=True))
    mixed = [
        None if one is None else 0.75 * one + 0.25 * other
        for one, other in zip(encoded(pipe, "a red cat"), encoded(pipe, "dog"), strict=True)
    ]
    with promptattn.attend(pipe, Prompt((Blend(parts, True),))) as run:
        assert torch.equal(run.inputs["prompt_embeds"], mixed[0])
        assert mixed[1] is None or torch.equal(run.inputs["pooled_prompt_embeds"], mixed[1])
        generate(pipe, **run.inputs)
    maps = run.maps.combine("mean")
    if kind != "sd":
        return
    # "dog" and "a" stand in one row, which is three quarters the one and one quarter the other: so is what it gets.
    assert [len(each.tokens) for each in (promptattn.plan(pipe, "dog").encoders[0], run.plans[0].encoders[0])] >= [1, 3]
    for name, mass in maps["a"].by_layer.items():
        tokens = promptattn.plan(pipe, "dog").encoders[0].tokens
        if len(tokens) == 1:
            np.testing.assert_allclose(maps["dog"].by_layer[name], mass / 3, rtol=1e-4)
    for record in maps.records:
        np.testing.assert_allclose(record.mass.sum(-1), 1, rtol=0, atol=1e-5)
