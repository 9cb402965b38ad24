"""Small statistics over scenes: bootstrap intervals, rank correlation, monotone responses, isotonic curves."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "draws", "estimate", "isotonic", "mean", "ranks", "ratio_of_sums", "spearman"]

Array = NDArray[np.float64]
Estimate = tuple[float, float, float]
"""A value and the ends of its 95 % interval."""


def draws(scenes: int, samples: int = 2000, seed: int = 0) -> NDArray[np.intp]:
    """Bootstrap draws `[sample, scene]`: indices of scenes, with replacement."""
    return np.random.default_rng(seed).integers(scenes, size=(samples, scenes))


def estimate(statistic: Callable[..., Array], *values: Array, drawn: NDArray[np.intp]) -> Estimate:
    """A statistic of `[scene]` arrays and its bootstrap percentile interval (2.5 to 97.5 %).

    `statistic` takes arrays `[..., scene]` and reduces their last axis. All scenes of a draw are taken from every
    array alike, so that differences between paired values keep their pairing.
    """
    sampled = statistic(*(each[drawn] for each in values))
    sampled = sampled[np.isfinite(sampled)]
    low, high = np.percentile(sampled, [2.5, 97.5]) if sampled.size else (np.nan, np.nan)
    return float(statistic(*values)), float(low), float(high)


def ratio_of_sums(above: Array, below: Array) -> Array:
    """sum(above) / sum(below) over the scenes that have both: a scene weighs as much as it holds, and one that holds
    nothing is no trouble."""
    there = np.isfinite(above) & np.isfinite(below)
    total = np.where(there, below, 0.0).sum(-1)
    part = np.where(there, above, 0.0).sum(-1)
    ratio: Array = np.divide(part, total, out=np.full(np.shape(total), np.nan), where=total != 0)
    return ratio


def mean(values: Array) -> Array:
    """Mean over the scenes that have a value; others are nan."""
    return ratio_of_sums(values, np.ones_like(values))


def ranks(values: Sequence[float] | Array) -> Array:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def spearman(first: Sequence[float] | Array, second: Sequence[float] | Array) -> float:
    """Rank correlation; 0 where one of the two is constant, as a response that does not respond is none."""
    a, b = (ranks(each) - ranks(each).mean() for each in (first, second))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def isotonic(values: Sequence[float] | Array) -> Array:
    """The non-decreasing sequence nearest in least squares (pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []
    for value in np.asarray(values, np.float64):
        level, count = float(value), 1
        while blocks and blocks[-1][0] > level:
            before, size = blocks.pop()
            level, count = (before * size + level * count) / (size + count), size + count
        blocks.append((level, count))
    return np.concatenate([np.full(count, level) for level, count in blocks])
