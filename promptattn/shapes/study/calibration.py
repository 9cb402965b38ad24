"""Which odds act as strongly as embedding scaling does, and what each then does elsewhere.

The curve is the effect of plain odds in the denoiser, over all odds that were painted, made monotone. Where it takes
the value that embedding scaling of w has, those odds are worth w, and the exponent g of odds = w ** g follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from promptattn.shapes.study.cells import ODDS, UNTOUCHED, WEIGHTS, Cell, Effect
from promptattn.shapes.study.statistics import Array, Estimate, isotonic, mean, ratio_of_sums
from promptattn.shapes.study.table import RELATIVE, Table

__all__ = ["CALIBRATED", "Match", "crossing", "match", "worth"]

CALIBRATED = {"own": 1, "likeness": 1, "distance": -1, "mass": 1, "moved": 1, "change_in": 1, "change": 1}
"""Measures by which odds can be matched, and whether they rise or fall with the odds. Changes rise on either side of
odds of 1, and are matched on the side of the weight."""

_CHANGES = ("moved", "change_in", "change")

_LARGEST = 1000.0


@dataclass(frozen=True)
class Match:
    """Embedding scaling of `weight` against the odds that change the own object's pixels as much.

    `beside[measure]` is (odds' value, scaling's value, difference with its interval). `backwards` says that scaling
    itself gave less for a weight above 1, or more for one below. `reached` is False where no odds change as much; the
    values are then those of the nearest.
    """

    weight: float
    odds: float
    reached: bool
    backwards: bool
    beside: dict[str, tuple[float, float, Estimate]]


def worth(table: Table, target: str, measure: str, weight: float) -> Estimate | None:
    """The g for which odds of weight ** g act as embedding scaling of `weight` does, by one measure, with its interval.

    Infinite where no odds that were painted reach it. None where either was not painted.
    """
    crossings = _crossings(table, target, measure, weight)
    if crossings is None:
        return None
    with np.errstate(invalid="ignore"):
        exponents = crossings / np.log(weight)
    # A percentile between a number and infinity is neither; the order statistic is.
    low, high = np.percentile(exponents[1:], [2.5, 97.5], method="inverted_cdf")
    return float(exponents[0]), float(low), float(high)


def match(table: Table, target: str, weight: float, measures: Sequence[str]) -> Match | None:
    """What scaling does, and what the odds do that change the own object as much (without a world: the word's area)."""
    strength = table.strength(target)
    change = "change_in" if strength == "mass" else "moved"
    crossings = _crossings(table, target, change, weight)
    if crossings is None:
        return None
    odds = _painted(table, target, change)
    points = np.log(odds)
    beside = {}
    for measure in measures:
        theirs = _sampled(table, target, _scaling(weight), measure)
        if not np.isfinite(theirs).any():
            continue
        curve = np.array([_sampled(table, target, Effect(denoiser=each), measure) for each in odds])
        ours = np.array([np.interp(x, points, y) for x, y in zip(crossings, curve.T, strict=True)])
        low, high = np.nanpercentile((ours - theirs)[1:], [2.5, 97.5])
        beside[measure] = float(ours[0]), float(theirs[0]), (float(ours[0] - theirs[0]), float(low), float(high))
    nearest = float(np.exp(np.clip(crossings[0], points[0], points[-1])))
    effect = _sampled(table, target, _scaling(weight), strength)[0]
    effect -= _sampled(table, target, UNTOUCHED, strength)[0]
    return Match(weight, nearest, bool(np.isfinite(crossings[0])), bool(effect * (weight - 1) < 0), beside)


def crossing(points: Array, levels: Array, level: float) -> float:
    """Where a non-decreasing curve first takes a level, between points linearly; infinite where it never does."""
    if level < levels[0]:
        return -np.inf
    if level > levels[-1]:
        return np.inf
    after = int(np.searchsorted(levels, level, "left"))
    if after == 0 or levels[after] == level:
        return float(points[after])
    share = (level - levels[after - 1]) / (levels[after] - levels[after - 1])
    return float(points[after - 1] + share * (points[after] - points[after - 1]))


def _crossings(table: Table, target: str, measure: str, weight: float) -> Array | None:
    """log odds at which the curve takes the scaling's value: first of all scenes, then of each draw."""
    if weight <= 0 or weight == 1:
        return None
    odds = _painted(table, target, measure)
    if measure in _CHANGES:
        odds = [each for each in odds if (each - 1) * (weight - 1) >= 0][:: 1 if weight > 1 else -1]
    level = CALIBRATED[measure] * _sampled(table, target, _scaling(weight), measure)
    if len(odds) < 2 or not np.isfinite(level[0]):
        return None
    curve = CALIBRATED[measure] * np.array([_sampled(table, target, Effect(denoiser=each), measure) for each in odds])
    points = np.log(odds)
    ends = np.array([crossing(points, isotonic(y), x) for y, x in zip(curve.T, level, strict=True)])
    # Walking down from 1, beyond the last point is minus infinity in odds.
    return np.where(np.isposinf(ends), -np.inf, ends) if points[-1] < points[0] else ends


def _scaling(weight: float) -> Effect:
    return Cell("a1111", weight, "").effect


def _painted(table: Table, target: str, measure: str) -> list[float]:
    """The odds that were painted in the denoiser alone, ascending, 1 among them. The few beyond 1000, where images
    break, are left out."""
    cells = [Cell(arm, weight, target) for arm in ("denoiser", "power") for weight in WEIGHTS]
    cells += [Cell("odds", each, target) for each in ODDS]
    odds = {cell.effect.denoiser for cell in cells if 0 < cell.effect.denoiser <= _LARGEST}
    return sorted(each for each in odds if np.isfinite(table.of(Effect(denoiser=each), target, measure)).any())


def _sampled(table: Table, target: str, effect: Effect, measure: str) -> Array:
    """A measure over all scenes, then over each bootstrap draw."""
    values = table.of(effect, target, measure)
    if measure not in RELATIVE:
        return np.append(mean(values), mean(values[table.drawn]))
    base = table.of(UNTOUCHED, target, measure)
    return np.append(ratio_of_sums(values, base), ratio_of_sums(values[table.drawn], base[table.drawn]))
