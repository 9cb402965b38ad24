"""What a method costs elsewhere, where it does as much as another: the front of strength and side effect.

A method's weights, away from 1, are a path: at each weight it has a strength and a side effect. Between neighbouring
weights both are taken to be straight lines. Where the path first takes a given strength, its side effect is read off;
so a method that turns back later is judged by what it does before. Strengths are those of all scenes together, and
everything is repeated for each bootstrap draw of scenes, the same draws for all methods.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from promptattn.shapes.study.cells import UNTOUCHED, Cell
from promptattn.shapes.study.methods.contests import Contest, sampled
from promptattn.shapes.study.statistics import Array
from promptattn.shapes.study.table import MEASURES, Table

__all__ = ["DIRECTIONS", "LESS", "MORE", "Direction", "Front", "first_reach", "front", "strength_of"]


@dataclass(frozen=True)
class Direction:
    """A path of weights away from 1, and the strengths at which methods are compared; summaries take the middle one."""

    name: str
    weights: tuple[float, ...]
    levels: tuple[float, float, float]

    @property
    def middle(self) -> float:
        return self.levels[1]


MORE = Direction("more", (1.0, 1.2, 1.5, 2.0, 3.0), (1.05, 1.1, 1.2))
LESS = Direction("less", (1.0, 0.5, 0.0, -1.0), (0.75, 0.5, 0.25))
DIRECTIONS = (MORE, LESS)


@dataclass(frozen=True)
class Front:
    """All methods at one strength.

    Attributes:
        sides: the side effect of each, nan where no weight has the strength.
        weights: the weight of each that has the strength; nan likewise.
    """

    direction: Direction
    level: float
    sides: Contest
    weights: dict[str, float]

    def reached(self, method: str) -> float:
        """The share of draws in which a weight has the strength."""
        return float(np.isfinite(self.sides.answers[method][1:]).mean())


def strength_of(target: str, direction: Direction) -> str:
    """The measure of strength, relative to weight 1: the own object's area; for less of a noun, how many scenes show
    an object of its shape, as an area is not taken away by taking away a shape."""
    return "shape" if target == "noun" and direction is LESS else "own"


def front(
    table: Table, methods: Sequence[str], target: str, direction: Direction, level: float, side: str = "change"
) -> Front:
    """Every method that was painted at this strength. `side` is a measure that is 0 where nothing has changed."""
    paths = {
        method: first_reach(direction.weights, *path, level)
        for method in methods
        if (path := _path(table, method, target, direction, side)) is not None
    }
    strength = strength_of(target, direction)
    what = "the own area" if strength == "own" else "the scenes that show its shape"
    question = f"{target}, {direction.name}: {MEASURES[side]} at {level:g} times {what}"
    sides = Contest(question, side, {method: each for method, (_, each) in paths.items()}, more=False)
    return Front(direction, level, sides, {method: float(weight[0]) for method, (weight, _) in paths.items()})


def first_reach(weights: Sequence[float], strength: Array, side: Array, level: float) -> tuple[Array, Array]:
    """Where paths `[weight, draw]` first take a strength: the weight and the side effect there, nan where never.

    At the first weight nothing has changed and strength is 1; a level above that is reached from below, one below from
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
    weight = places[start] + part * (places[end] - places[start])
    cost = side[start, draws] + part * (side[end, draws] - side[start, draws])
    reached = there.any(0)
    return np.where(reached, weight, np.nan), np.where(reached, cost, np.nan)


def _path(table: Table, method: str, target: str, direction: Direction, side: str) -> tuple[Array, Array] | None:
    """Strength and side effect `[weight, 1 + draw]`; None where a weight was not painted."""
    measure = strength_of(target, direction)
    base = table.of(UNTOUCHED, target, measure)
    strengths, sides = [], []
    for weight in direction.weights:
        effect = Cell(method, weight, target).effect
        values = table.of(effect, target, measure)
        if not np.isfinite(values).any():
            return None
        strengths.append(sampled(values, table.drawn, base))
        sides.append(sampled(table.of(effect, target, side), table.drawn))
    return np.array(strengths), np.array(sides)
