"""Scores of selections over made-up recordings with known places: nothing is fitted to what it is scored on."""

import dataclasses

import numpy as np
import pytest
from recordings import LAYERS, recording, recordings

from promptattn.maps import RULES, layer_shares, resize
from promptattn.shapes.evaluation.grounding import (
    LEVELS,
    METRICS,
    Sample,
    choose_thresholds,
    difference,
    interval,
    samples,
    summary,
)
from promptattn.shapes.evaluation.search import all_units, best_single, crossed, greedy
from promptattn.shapes.evaluation.selections import Selection, catalogue, groups, heat
from promptattn.shapes.evaluation.tables import absent_table, grounding_table, peer_table

BEST = ("up_blocks.0", 1)


def perfect(made):
    return np.stack([word.own.astype(np.float64) for word in made.words])


def every(word):
    return True


def sample(picture, half, curve, ap=0.5):
    scores = {name: ap for name in METRICS if name != "iou"}
    return Sample(picture, half, np.asarray(curve, np.float64), scores)


def peak(level):
    """A curve that is highest at the level with this index."""
    return 1 - np.abs(np.arange(len(LEVELS)) - level) / len(LEVELS)


# What a map is made of.


def test_a_selection_is_the_mean_of_its_layers_heads_and_steps():
    made = recording()
    first, last = "down_blocks.0", "up_blocks.0"
    both = heat(Selection("group", "both", ((first, None), (last, None))), made)
    parts = [resize(made.layers[name].steps.mean(axis=0), (32, 32)) for name in (first, last)]
    np.testing.assert_allclose(both, np.mean(parts, axis=0), atol=1e-6)
    head = heat(Selection("head", "one", ((last, 1),)), made)
    np.testing.assert_allclose(head, resize(made.layers[last].heads[1], (32, 32)), atol=1e-6)
    late = heat(Selection("steps", "late", ((last, None),), (0.5, 1.0)), made)
    np.testing.assert_allclose(late, resize(made.layers[last].steps[2:].mean(axis=0), (32, 32)), atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_that_of_the_maps(rule):
    made = recording()
    shares = layer_shares(rule, {name: layer.mass for name, layer in made.layers.items()})
    parts = [share * resize(made.layers[name].steps.mean(axis=0), (32, 32)) for name, share in shares.items()]
    np.testing.assert_allclose(heat(Selection("rule", rule, rule), made), np.sum(parts, axis=0), atol=1e-6)


def test_quarters_of_a_run_make_the_whole():
    made = recording()
    quarters = [heat(Selection("steps", "", ((BEST[0], None),), (i / 4, (i + 1) / 4)), made) for i in range(4)]
    np.testing.assert_allclose(np.mean(quarters, axis=0), heat(Selection("", "", ((BEST[0], None),)), made), atol=1e-6)


def test_the_catalogue_names_everything_once():
    made = recording()
    found = catalogue(made)
    assert len({(each.kind, each.name) for each in found}) == len(found)
    kinds = {each.kind for each in found}
    assert kinds == {"rule", "group", "layer", "head", "layer and steps", "steps", "cumulative"}
    assert groups(made)["grid 16 x 16"] == ["up_blocks.0"]
    assert groups(made)["first third of layers"] == ["down_blocks.0"]
    one = recording(layers={"transformer_blocks.0.attn": LAYERS["mid_block"]})
    assert groups(one) == {}
    assert catalogue(one)


# Scores.


def test_perfect_maps_score_perfectly():
    scores = summary(samples(recordings(), perfect, every))
    assert [scores[name] for name in METRICS] == [1, 1, 1, 0, 0]
    assert scores["n"] == 32
    assert scores["pictures"] == 8


def test_controls_are_other_masks():
    made = recordings()
    own = samples(made, perfect, every)
    other = summary(samples(made, perfect, every, against="other"), choose_thresholds(own))
    assert other["iou"] == 0
    assert other["outside"] > 0.99
    shuffled = summary(samples(made, perfect, every, against="shuffled"), choose_thresholds(own))
    assert shuffled["iou"] < 0.5


def test_a_shuffled_mask_is_that_of_another_picture():
    made = recordings(5)
    whose = {id(word.own): number for number, each in enumerate(made) for word in each.words}
    kept = [(number, word) for number, each in enumerate(made) for word in each.words]
    shift = len(kept) // 2
    for index, (number, _) in enumerate(kept):
        assert whose[id(kept[(index + shift) % len(kept)][1].own)] != number


def test_a_word_without_another_object_has_no_such_control():
    made = recording()
    alone = dataclasses.replace(made, words=tuple(dataclasses.replace(word, other=None) for word in made.words))
    assert samples([alone], perfect, every, against="other") == []
    assert np.isnan(summary(samples([alone], perfect, every))["leakage"])
    assert summary([]) == {"n": 0}


def test_a_threshold_comes_from_the_other_half():
    found = [sample(0, 0, peak(5)), sample(1, 0, peak(5)), sample(2, 1, peak(30))]
    assert choose_thresholds(found) == (30, 5)
    changed = [sample(0, 0, peak(11)), *found[1:]]
    assert choose_thresholds(changed)[0] == choose_thresholds(found)[0]
    scores = summary(found)
    assert scores["iou"] == pytest.approx(1 - 25 / len(LEVELS), abs=1e-4)
    assert scores["thresholds"] == [pytest.approx(LEVELS[30]), pytest.approx(LEVELS[5])]
    assert choose_thresholds(found[:2]) == (5, 5)  # one half only: nothing else to choose from


def test_intervals_hold_the_mean_and_count_pictures_not_words():
    rng = np.random.default_rng(3)
    values = rng.random(40)
    low, high = interval(values, np.arange(40))
    assert low < values.mean() < high
    # Four words that say the same are no more than one.
    repeated = np.repeat(values, 4)
    wide = interval(repeated, np.repeat(np.arange(40), 4))
    narrow = interval(repeated, np.arange(160))
    assert wide[1] - wide[0] == pytest.approx(high - low, rel=0.05)
    assert narrow[1] - narrow[0] < 0.7 * (wide[1] - wide[0])
    assert np.isnan(interval(np.full(3, np.nan), np.arange(3))).all()
    assert interval(np.full(5, 0.25), np.arange(5)) == (0.25, 0.25)


def test_differences_are_paired():
    rng = np.random.default_rng(5)
    curves = [rng.random(len(LEVELS)) for _ in range(20)]
    one = [sample(i, i % 2, curve, ap=0.3 + 0.02 * i) for i, curve in enumerate(curves)]
    two = [sample(i, i % 2, curve, ap=0.2 + 0.02 * i) for i, curve in enumerate(curves)]
    gained = difference(one, two)
    assert gained["ap"] == pytest.approx(0.1)
    assert gained["ap_interval"] == pytest.approx([0.1, 0.1])  # though the scores themselves vary a lot
    assert gained["iou"] == 0
    assert summary(one)["ap_interval"][1] - summary(one)["ap_interval"][0] > 0.05


# Choosing.


def test_the_search_finds_the_layer_and_head_that_know():
    made = recordings()
    assert len(all_units(made[0], heads=True)) == 6
    for half in (0, 1):
        assert best_single(made, all_units(made[0], heads=False), half).selection.units == ((BEST[0], None),)
        chosen = greedy(made, all_units(made[0], heads=True), half)
        assert chosen.selection.units[0] == BEST
        assert chosen.score >= best_single(made, all_units(made[0], heads=True), half).score


def test_the_search_looks_at_one_half_only():
    made = recordings()
    blind = [each if each.half == 0 else recording(number, layers=dict.fromkeys(LAYERS, ((8, 8), 0.0)))
             for number, each in enumerate(made)]  # fmt: skip
    units = all_units(made[0], heads=True)
    assert greedy(blind, units, 0) == greedy(made, units, 0)
    assert greedy(blind, units, 1) != greedy(made, units, 1)


def test_what_is_chosen_on_one_half_makes_the_maps_of_the_other():
    made = recordings()
    picks = {0: Selection("chosen", "a", (("down_blocks.0", None),)), 1: Selection("chosen", "b", ((BEST[0], None),))}
    units = {half: best_single(made, list(each.units), half) for half, each in picks.items()}
    choices, heats = crossed(lambda half: units[half])
    assert [choice.selection.units for choice in choices] == [picks[0].units, picks[1].units]
    for each in made[:2]:
        np.testing.assert_array_equal(heats(each), heat(picks[1 - each.half], each))


# Tables.


def test_the_table_tells_what_was_planted():
    rows = {(row["kind"], row["name"]): row for row in grounding_table(recordings(8))}
    knows, ignorant = rows["layer", "up_blocks.0"], rows["layer", "mid_block"]
    for kind in ("noun", "colour"):
        gained = rows["gain", "coherence over mean"][kind]
        assert gained["ap"] == pytest.approx(
            rows["rule", "coherence"][kind]["ap"] - rows["rule", "mean"][kind]["ap"], abs=2e-4
        )
        assert knows[kind]["ap"] > 0.6 > 0.3 > ignorant[kind]["ap"]
        assert knows[kind]["shuffled"]["ap"] < knows[kind]["ap"] - 0.3
        assert knows[kind]["other"]["iou"] < 0.1
        assert rows["rule", "coherence"][kind]["ap"] > rows["rule", "mean"][kind]["ap"]
    assert knows["colour"]["ap"] > knows["noun"]["ap"]
    late, early = (rows["layer and steps", f"up_blocks.0, quarter {i} of 4"]["noun"]["ap"] for i in (4, 1))
    assert late > early
    assert rows["head", "up_blocks.0 head 1"]["noun"]["ap"] > rows["head", "up_blocks.0 head 0"]["noun"]["ap"]
    assert rows["chosen", "best head"]["choices"] == ["up_blocks.0 head 1"] * 2
    parts = rows["parts", "coherence"]
    assert {part for part in parts if parts[part] and isinstance(parts[part], dict)} >= {"noun, en", "phrase, es"}
    assert parts["phrase, en"]["ap"] >= parts["noun, en"]["ap"]
    assert parts["noun, en, seen"]["n"] + parts["noun, en, not seen"]["n"] == parts["noun, en"]["n"]
    assert parts["noun, en"]["n"] + parts["noun, es"]["n"] == rows["rule", "mean"]["noun"]["n"]


def test_one_picture_or_none_makes_no_search():
    assert not [row for row in grounding_table(recordings(1)) if row["kind"] == "chosen"]
    assert grounding_table([]) == []


def test_absent_words_stand_beside_present_ones():
    made = [*recordings(4), *recordings(2, present=False)]
    there, absent = absent_table(made)
    assert (there["noun"]["n"], absent["noun"]["n"]) == (8, 4)


def test_peers_are_scored_on_the_pictures_that_they_painted():
    made = [
        dataclasses.replace(each, peer={"other tool": perfect(each).astype(np.float32)}, different={"other tool": 1})
        for each in recordings(4)
    ] + recordings(8)[4:]
    rows = {row["name"]: row for row in peer_table(made, ["other tool"])}
    assert rows["other tool"]["noun"]["iou"] == 1
    assert rows["other tool"]["different"] == 1
    assert rows["promptattn, mean"]["noun"]["n"] == rows["other tool"]["noun"]["n"] == 8
    assert peer_table(made, []) == []
