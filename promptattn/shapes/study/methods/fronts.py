"""What a method costs elsewhere, where it does as much as another: the front of strength and side effect.

A method's weights, away from 1, are a path: at each weight it has a strength and a side effect. Between neighbouring
weights both are taken to be straight lines. Where the path first takes a given strength, its side effect is read off;
so a method that turns back later is judged by what it does before. Strengths are those of all scenes together, and
everything is repeated for each bootstrap draw of scenes, the same draws for all methods.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from promptattn.shapes.study.cells import UNTOUCHED, Cell
from promptattn.shapes.study.statistics import Array, Estimate, mean, ratio_of_sums
from promptattn.shapes.study.table import Table

__all__ = ["DIRECTIONS", "LESS", "MORE", "Direction", "Point", "first_reach", "front", "strength_of"]


@dataclass(frozen=True)
class Direction:
    """A path of weights away from 1, and the strengths at which methods are compared."""

    name: str
    weights: tuple[float, ...]
    levels: tuple[float, ...]


MORE = Direction("more", (1.0, 1.2, 1.5, 2.0, 3.0), (1.05, 1.1, 1.2))
LESS = Direction("less", (1.0, 0.5, 0.0, -1.0), (0.75, 0.5, 0.25))
DIRECTIONS = (MORE, LESS)


@dataclass(frozen=True)
class Point:
    """A method at a strength.

    `weight` is the weight that has it, `side` the side effect there; None where no weight has it. `reached` is the
    share of the draws in which one has. `worse` holds by how much the side effect is greater than that of another
    method, for those where the difference's interval is above 0: such a method is off the front. Intervals of `side`
    and `worse` are over the draws in which the strength is reached.
    """

    weight: float | None
    side: Estimate | None
    reached: float
    worse: dict[str, Estimate] = field(default_factory=dict)


def strength_of(target: str, direction: Direction) -> str:
    """The measure of strength, relative to weight 1: the own object's area; for less of a noun, how many scenes show
    an object of its shape, as an area is not taken away by taking away a shape."""
    return "shape" if target == "noun" and direction is LESS else "own"


def front(
    table: Table, methods: Sequence[str], target: str, direction: Direction, level: float, side: str = "change"
) -> dict[str, Point]:
    """Every method at this strength. `side` is a measure that is 0 where nothing has changed, such as `change`."""
    found = {method: _at_level(table, method, target, direction, level, side) for method in methods}
    found = {method: paths for method, paths in found.items() if paths is not None}
    return {method: _point(method, found) for method in found}


def first_reach(weights: Sequence[float], strength: Array, side: Array, level: float) -> tuple[Array, Array]:
    """Where paths `[weight, draw]` first take a strength: the weight and the side effect there, nan where never.

    The first weight is where nothing has changed; a level above its strength is reached from below, one below from
    above.
    """
    gap = (strength - level) * (1 if level > 1 else -1)
    there = gap >= 0
    end = there.argmax(0)
    draws = np.arange(gap.shape[1])
    start = np.maximum(end - 1, 0)
    before, after = gap[start, draws], gap[end, draws]
    rise = after - before
    part = np.divide(-before, rise, out=np.zeros_like(before), where=rise > 0)
    places = np.asarray(weights, np.float64)
    reached = there.any(0)
    weight = places[start] + part * (places[end] - places[start])
    cost = side[start, draws] + part * (side[end, draws] - side[start, draws])
    return np.where(reached, weight, np.nan), np.where(reached, cost, np.nan)


def _at_level(
    table: Table, method: str, target: str, direction: Direction, level: float, side: str
) -> tuple[Array, Array] | None:
    measure = strength_of(target, direction)
    base = table.of(UNTOUCHED, target, measure)
    strengths, sides = [], []
    for weight in direction.weights:
        effect = Cell(method, weight, target).effect
        values, costs = table.of(effect, target, measure), table.of(effect, target, side)
        if not np.isfinite(values).any():
            return None
        strengths.append(np.append(ratio_of_sums(values, base), ratio_of_sums(values[table.drawn], base[table.drawn])))
        sides.append(np.append(mean(costs), mean(costs[table.drawn])))
    return first_reach(direction.weights, np.array(strengths), np.array(sides), level)


def _point(method: str, paths: dict[str, tuple[Array, Array]]) -> Point:
    weight, side = paths[method]
    reached = float(np.isfinite(side[1:]).mean())
    if not np.isfinite(side[0]):
        return Point(None, None, reached)
    worse = {}
    for other, (_, theirs) in paths.items():
        difference = _interval(side - theirs)
        if difference is not None and difference[1] > 0:
            worse[other] = difference
    return Point(float(weight[0]), _interval(side), reached, worse)


def _interval(values: Array) -> Estimate | None:
    """The first value, with the interval of the others."""
    drawn = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or not drawn.size:
        return None
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(values[0]), float(low), float(high)
