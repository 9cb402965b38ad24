"""How well the maps of a selection cover their objects, over all words, with controls.

Nothing is fitted to what it is scored on: a threshold is chosen on one half of the cases and used on the other, both
ways round; intervals resample whole pictures, as words of one picture are not independent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptattn.maps.metrics import average_precision, iou_curve, leakage, outside, pointing_hit
from promptattn.shapes.evaluation.recording import Recording, Word

__all__ = [
    "LEVELS",
    "METRICS",
    "Heats",
    "Sample",
    "choose_thresholds",
    "difference",
    "interval",
    "samples",
    "summary",
]

LEVELS = np.arange(0.02, 0.99, 0.02)
"""The thresholds that are tried, as shares of the way from a map's least to its largest value."""

METRICS = ("iou", "ap", "pointing", "outside", "leakage")

Floats = NDArray[np.float64]
Heats = Callable[[Recording], Floats]
"""From a recording to the maps of its words, `[word, height, width]` at the image's resolution."""


@dataclass(frozen=True, eq=False)
class Sample:
    """The scores of one map against one mask.

    Attributes:
        picture: the number of its picture; half: which half of the cases that is in.
        curve: IoU at each of `LEVELS`; scores: the metrics that need no threshold.
    """

    picture: int
    half: int
    curve: Floats
    scores: dict[str, float]


def samples(
    recordings: Sequence[Recording],
    heats: Heats,
    keep: Callable[[Word], bool],
    against: str = "own",
) -> list[Sample]:
    """Scores of the maps of the words to `keep` against their `own` mask, the `other` object's, or a `shuffled` one.

    Shuffled: the mask of a word half way down the list, so of another picture.
    """
    kept: list[tuple[int, Recording, Word, Floats]] = []
    for number, recording in enumerate(recordings):
        if any(keep(word) for word in recording.words):
            maps = heats(recording)
            kept += [(number, recording, word, maps[i]) for i, word in enumerate(recording.words) if keep(word)]
    shift = len(kept) // 2
    masks = {
        "own": lambda index, word: word.own,
        "other": lambda index, word: word.other,
        "shuffled": lambda index, word: kept[(index + shift) % len(kept)][2].own,
    }[against]
    found = []
    for index, (number, recording, word, heat) in enumerate(kept):
        mask = masks(index, word)
        if mask is not None:
            found.append(_score(number, recording.half, heat, mask, word.other if against == "own" else None))
    return found


def _score(picture: int, half: int, heat: Floats, mask: NDArray[np.bool_], other: NDArray[np.bool_] | None) -> Sample:
    scores = {
        "ap": average_precision(heat, mask),
        "pointing": pointing_hit(heat, mask),
        "outside": outside(heat, mask),
        "leakage": float("nan") if other is None else leakage(heat, mask, other),
    }
    return Sample(picture, half, iou_curve(heat, mask, LEVELS), scores)


def summary(found: Sequence[Sample], thresholds: tuple[int, int] | None = None) -> dict[str, Any]:
    """Means of all metrics with 95 % intervals, the number of words and pictures, and the thresholds.

    `thresholds` are indices into `LEVELS` for the two halves, for a control that has to live with those of the maps
    themselves; they are chosen here unless given.
    """
    if not found:
        return {"n": 0}
    chosen = thresholds or choose_thresholds(found)
    table = _means(_values(found, chosen), found)
    table["thresholds"] = [round(float(LEVELS[index]), 2) for index in chosen]
    return table


def difference(found: Sequence[Sample], other: Sequence[Sample]) -> dict[str, Any]:
    """How much better `found` scores than `other` on the same words: mean differences, with intervals of their own."""
    if not found:
        return {"n": 0}
    mine, theirs = (_values(each, choose_thresholds(each)) for each in (found, other))
    return _means({name: mine[name] - theirs[name] for name in METRICS}, found)


def _values(found: Sequence[Sample], thresholds: tuple[int, int]) -> dict[str, Floats]:
    values = {name: np.array([sample.scores[name] for sample in found]) for name in METRICS if name != "iou"}
    values["iou"] = np.array([sample.curve[thresholds[sample.half]] for sample in found])
    return values


def _means(values: dict[str, Floats], found: Sequence[Sample]) -> dict[str, Any]:
    pictures = np.array([sample.picture for sample in found])
    table: dict[str, Any] = {"n": len(found), "pictures": len(set(pictures.tolist()))}
    for name in METRICS:
        table[name] = _mean(values[name])
        table[f"{name}_interval"] = list(interval(values[name], pictures))
    return table


def choose_thresholds(found: Sequence[Sample]) -> tuple[int, int]:
    """For each half the level with the best mean IoU on the other half (or on its own, where the other is empty)."""
    best = []
    for half in (0, 1):
        others = [sample.curve for sample in found if sample.half != half] or [sample.curve for sample in found]
        best.append(int(np.mean(others, axis=0).argmax()))
    return best[0], best[1]


def interval(values: Floats, pictures: NDArray[np.int_], draws: int = 1000) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of `values` when whole pictures are drawn anew, with replacement."""
    known = ~np.isnan(values)
    if not known.any():
        return float("nan"), float("nan")
    _, place = np.unique(pictures[known], return_inverse=True)
    sums, counts = np.bincount(place, values[known]), np.bincount(place)
    drawn = _resamples(len(sums), draws)
    low, high = np.percentile(drawn @ sums / (drawn @ counts), [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


@lru_cache(maxsize=4)
def _resamples(pictures: int, draws: int) -> Floats:
    """How often each picture is drawn, `[draw, picture]`; the same for every score, so that differences are paired."""
    rng = np.random.default_rng(0)
    return rng.multinomial(pictures, np.full(pictures, 1 / pictures), size=draws).astype(np.float64)


def _mean(values: Floats) -> float:
    return round(float(np.nanmean(values)), 4) if not np.isnan(values).all() else float("nan")
