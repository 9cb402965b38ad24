"""Statistics, calibration and report of the study of weights, against answers worked out by hand."""

import numpy as np
import pytest

from promptattn.shapes.study import statistics
from promptattn.shapes.study.calibration import crossing, match, worth
from promptattn.shapes.study.cases import Case
from promptattn.shapes.study.cells import ODDS, UNTOUCHED, WEIGHTS, Cell, Effect
from promptattn.shapes.study.report import build, markdown
from promptattn.shapes.study.response import is_backwards, response
from promptattn.shapes.study.store import Key, Store
from promptattn.shapes.study.table import Table
from promptattn.weighting import Weighting

ODDS_OF_2 = Weighting("denoiser").in_denoiser(2.0)
"""What the default strength makes of a weight of 2; tests/weighting work it out by hand."""


def test_ratio_of_sums_pairs_what_is_there():
    above, below = np.array([2.0, 3.0, np.nan]), np.array([1.0, 4.0, 9.0])
    assert statistics.ratio_of_sums(above, below) == 1.0
    assert np.isnan(statistics.ratio_of_sums(np.zeros(2), np.zeros(2)))


def test_mean_leaves_out_what_is_missing():
    assert statistics.mean(np.array([1.0, np.nan, 3.0])) == 2.0


def test_an_interval_by_hand():
    """Every draw of one value gives it; of 0 and 1 in equal numbers the interval is the binomial's."""
    drawn = statistics.draws(100)
    assert statistics.estimate(statistics.mean, np.full(100, 7.0), drawn=drawn) == (7, 7, 7)
    middle, low, high = statistics.estimate(statistics.mean, np.arange(100) % 2.0, drawn=drawn)
    assert middle == 0.5
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.05, 0.5 + 1.96 * 0.05), abs=0.012)


def test_draws_keep_pairs():
    values = np.arange(10.0)
    drawn = statistics.draws(10)
    assert statistics.estimate(statistics.ratio_of_sums, 2 * values, values, drawn=drawn) == (2, 2, 2)


def test_ranks_share_ties():
    assert statistics.ranks([30, 10, 20, 20]).tolist() == [4, 1, 2.5, 2.5]


def test_spearman_by_hand():
    assert statistics.spearman([1, 2, 3], [5, 6, 60]) == pytest.approx(1)
    assert statistics.spearman([1, 2, 3], [5, 4, 3]) == pytest.approx(-1)
    # 1 - 6 * sum(d^2) / (n (n^2 - 1)) with d = 1, -1, 0, 0
    assert statistics.spearman([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(1 - 6 * 2 / 60)
    assert statistics.spearman([1, 2, 3], [4, 4, 4]) == 0


def test_isotonic_pools_violators():
    assert statistics.isotonic([1, 3, 2, 5, 4, 3]).tolist() == [1, 2.5, 2.5, 4, 4, 4]


@pytest.mark.parametrize(
    ("level", "point"), [(0.5, -np.inf), (1, 0), (2, 1), (2.5, 1.5), (3, 2), (4, 3.5), (6, np.inf)]
)
def test_crossings(level, point):
    assert crossing(np.array([0.0, 1, 2, 3, 4]), np.array([1.0, 2, 3, 3, 5]), level) == point


def test_backwards():
    assert is_backwards(2, 0.05, 0.1, 0.005)
    assert not is_backwards(2, 0.09, 0.1, 0.005)
    assert is_backwards(0.5, 0.15, 0.1, 0.005)
    assert not is_backwards(0.5, 0.05, 0.1, 0.005)
    assert not is_backwards(2, 0.0, 0.004, 0.005)  # within the dead band


def test_response_of_a_scene():
    weights = [0, 0.5, 1, 2]
    rising = response(weights, [0, 0.05, 0.1, 0.2], 0.1, 0.005)
    assert rising == {"spearman": pytest.approx(1), "rises": 1, "monotone": 1, "turns_back": 0}
    wobbling = response(weights, [0, 0.104, 0.1, 0.2], 0.1, 0.005)
    assert (wobbling["monotone"], wobbling["turns_back"]) == (1, 0)
    turning = response(weights, [0, 0.05, 0.1, 0.02], 0.1, 0.005)
    assert (turning["monotone"], turning["turns_back"]) == (0, 1)


@pytest.mark.parametrize(
    ("arm", "weight", "effect"),
    [
        ("denoiser", 2.0, Effect(denoiser=4.90968)),  # as tests/weighting work it out
        ("text", 2.0, Effect(text=4.90968)),
        ("power", 2.0, Effect(denoiser=64.0)),
        ("power", -2.0, Effect(denoiser=-64.0)),
        ("power", 0.0, Effect(denoiser=0.0)),
        ("both", 0.5, Effect(0.5**6, 0.5**6)),
        ("auto", 1.2, Effect(denoiser=2.5901)),
        ("auto", 0.0, Effect(0.0, 0.0)),
        ("a1111", 1.2, Effect(embedding=1.2, rule="a1111")),
        ("odds", 12.0, Effect(denoiser=12.0)),
        ("text", 1.0, UNTOUCHED),
        ("a1111", 1.0, UNTOUCHED),
        ("attention", 0.0, Effect(0.0, 0.0)),
        ("attention", 1.5, Cell("auto", 1.5, "colour").effect),
        ("prompt-to-prompt", 0.5, Effect(denoiser=0.5, rule="prompt-to-prompt")),
        ("prompt-to-prompt", 1.0, UNTOUCHED),
        ("negpip", -1.0, Effect(denoiser=-1.0, rule="negpip")),
        ("comfy", 2.0, Effect(embedding=2.0, rule="comfy")),
        ("compel", 2.0, Effect(embedding=2.0, rule="comfy")),
        ("compel", 0.5, Effect(embedding=0.5, rule="compel")),
        ("down_weight", 0.5, Effect(embedding=0.5, rule="comfy++")),
        ("down_weight", 2.0, Effect(embedding=2.0, rule="down_weight")),
    ],
)
def test_what_a_cell_does(arm, weight, effect):
    from dataclasses import astuple

    *numbers, rule = astuple(Cell(arm, weight, "colour").effect)
    *expected, expected_rule = astuple(effect)
    assert numbers == pytest.approx(expected, rel=1e-4)
    assert rule == expected_rule


CASES = [Case(index, index, ("en", "es")[index % 2], "", {}) for index in range(8)]


def made_up(folder, *, own, other):
    """A store in which area is `own(effect)` times the scene's, the other's likewise, for every cell."""
    store = Store(folder, {"model": "made up"})
    cells = [Cell(arm, weight, "colour") for arm in ("denoiser", "auto", "power", "a1111") for weight in WEIGHTS]
    for cell in [*cells, *(Cell("odds", odds, "colour") for odds in ODDS)]:
        for case in CASES:
            size = 0.05 + 0.01 * case.index
            broken = float(cell.effect.embedding > 2)
            measures = {"own": size * own(cell.effect), "other": size * other(cell.effect), "broken": broken}
            changed = abs(1 - own(cell.effect))
            store.append(Key(cell.effect, "colour", case.index), {**measures, "moved": changed, "change": changed})
    return store


def own_area(effect):
    """A straight line in log odds. Embedding scaling by w and odds of w ** 4 do the same."""
    log_odds = 4 * np.log(max(effect.embedding, 0.1)) + np.log(max(effect.denoiser, 1e-4))
    return 1 + 0.1 * log_odds


def other_area(effect):
    return 0.5 if effect.embedding > 1 else 0.9 if effect.denoiser > 1 else 1.0


def test_the_exponent_is_found(tmp_path):
    table = Table(made_up(tmp_path, own=own_area, other=other_area), CASES, samples=100)
    middle, low, high = worth(table, "colour", "own", 1.2)
    assert middle == pytest.approx(4, rel=1e-3)
    assert (low, high) == pytest.approx((middle, middle), rel=1e-3)  # all scenes answer alike
    assert worth(table, "colour", "change", 0.8)[0] == pytest.approx(4, rel=1e-3)
    assert worth(table, "colour", "own", 1.0) is None
    assert worth(table, "colour", "distance", 1.2) is None


def test_side_effects_at_equal_strength(tmp_path):
    table = Table(made_up(tmp_path, own=own_area, other=other_area), CASES, samples=100)
    found = match(table, "colour", 1.2, ["other", "shape"])
    assert found.reached
    assert not found.backwards
    assert found.odds == pytest.approx(1.2**4, rel=1e-3)
    ours, theirs, (difference, low, high) = found.beside["other"]
    assert (ours, theirs) == pytest.approx((0.9, 0.5))
    assert (difference, low, high) == pytest.approx((0.4, 0.4, 0.4))
    assert "shape" not in found.beside


def test_scaling_out_of_reach_and_backwards(tmp_path):
    strong = Table(
        made_up(tmp_path / "a", own=lambda e: 3 if e.embedding > 1 else own_area(e), other=other_area), CASES
    )
    assert not match(strong, "colour", 1.2, []).reached
    assert worth(strong, "colour", "own", 1.2)[0] == np.inf
    turned = Table(
        made_up(tmp_path / "b", own=lambda e: 0.8 if e.embedding > 1 else own_area(e), other=other_area),
        CASES,
        samples=100,
    )
    assert match(turned, "colour", 1.2, []).backwards


def test_the_report(tmp_path):
    table = Table(made_up(tmp_path, own=own_area, other=other_area), CASES, samples=100)
    found = build(table, ("denoiser", "auto", "a1111", "odds"), ("colour",), {"model": "made up"})
    cell = found["cells"]["colour"]["auto"]["2"]
    assert cell["own"] == pytest.approx([own_area(Effect(denoiser=4.90968))] * 3, rel=1e-3)
    assert found["responses"]["colour"]["auto"]["monotone"] == [1, 1, 1]
    assert found["languages"]["es"]["colour"]["auto"]["2"] == pytest.approx(cell["own"])
    # The made-up odds spare the other object and break nothing, so the only losses are of pixel change.
    assert all("pixel change" in loss for loss in found["losses"])
    text = markdown(found)
    assert "| 2 | 1.16 | 1.16 | 1.28 |" in text
    assert "| 3 | 0 % | 0 % | 100 % |" in text
    assert "nan" not in text


def test_losses_are_printed(tmp_path):
    def spared_by_scaling(effect):
        return 1.0 if effect.embedding > 1 else 0.4 if effect.denoiser > 1 else 1.0

    table = Table(made_up(tmp_path, own=own_area, other=spared_by_scaling), CASES, samples=100)
    losses = build(table, ("denoiser", "auto", "a1111", "odds"), ("colour",), {})["losses"]
    assert "colour, weight 1.2: other object's area, relative to weight 1: 0.40 against 1.00" in losses
    assert any("same change: other object's area" in loss for loss in losses)


def test_a_report_of_nothing_yet(tmp_path):
    found = build(Table(Store(tmp_path, {}), CASES), ("auto", "a1111"), ("colour",), {})
    assert found["losses"] == []
    assert "None." in markdown(found)


def test_the_figure(tmp_path):
    pytest.importorskip("matplotlib")
    from promptattn.shapes.study.figure import draw

    table = Table(made_up(tmp_path, own=own_area, other=other_area), CASES, samples=100)
    draw(build(table, ("auto", "a1111"), ("colour",), {"model": "made up"}), tmp_path / "deep" / "figure.png")
    assert (tmp_path / "deep" / "figure.png").stat().st_size > 5000
