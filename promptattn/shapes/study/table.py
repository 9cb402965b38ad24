"""Results by cell, as arrays over scenes, and what is estimated from them."""

from collections.abc import Sequence

import numpy as np

from promptattn.shapes.study.cases import Case
from promptattn.shapes.study.cells import UNTOUCHED, WEIGHTS, Cell, Effect
from promptattn.shapes.study.response import DEAD_BANDS, is_backwards, response
from promptattn.shapes.study.statistics import Array, Estimate, draws, estimate, mean, ratio_of_sums
from promptattn.shapes.study.store import Key, Store

__all__ = ["LADDER", "MEASURES", "RELATIVE", "Table"]

RELATIVE = ("own", "other", "mass", "other_mass")
"""Measures given relative to weight 1: ratio of the sums over scenes."""

MEASURES = {
    "own": "own object's area, relative to weight 1",
    "own_present": "own object is there",
    "likeness": "likeness to the own shape of what stands there",
    "shape": "own object has its shape",
    "moved": "mean pixel change in the own object",
    "distance": "RGB distance to the own colour, where it was",
    "mass": "own word's part of all attention, relative to weight 1",
    "gathered": "part of the own word's attention in its area",
    "change_in": "mean pixel change in the word's area",
    "other": "other object's area, relative to weight 1",
    "other_present": "other object is there",
    "other_likeness": "likeness to the other shape of what stands there",
    "other_mass": "other word's part of all attention, relative to weight 1",
    "change_other": "mean pixel change in the other word's area",
    "change": "mean pixel change elsewhere",
    "backwards": "more weight gave clearly less, or less more",
    "broken": "image broken",
}
"""Every measure that a report can hold, and what it is."""

LADDER = tuple(weight for weight in WEIGHTS if weight >= 0)
"""The weights over which a response is monotone or not."""


class Table:
    """All results of a store for some cases; those not there yet are nan. Intervals come from `samples` draws."""

    def __init__(self, store: Store, cases: Sequence[Case], samples: int = 2000) -> None:
        self._store = store
        self._samples = samples
        self.cases = tuple(cases)
        self.drawn = draws(len(self.cases), samples)

    def of(self, effect: Effect, target: str, measure: str) -> Array:
        """A measure as `[scene]`."""
        keys = [Key(effect, target, case.index) for case in self.cases]
        return np.array([self._store[key].get(measure, np.nan) if key in self._store else np.nan for key in keys])

    def cell(self, cell: Cell, measure: str) -> Array:
        """A measure of a cell as `[scene]`; `backwards` is derived from what `strength` names."""
        if measure != "backwards":
            return self.of(cell.effect, cell.target, measure)
        strength = self.strength(cell.target)
        values, bases = (self.of(effect, cell.target, strength) for effect in (cell.effect, UNTOUCHED))
        band = DEAD_BANDS[strength]
        found = [float(is_backwards(cell.weight, a, b, band)) for a, b in zip(values, bases, strict=True)]
        return np.where(np.isfinite(values) & np.isfinite(bases), found, np.nan)

    def strength(self, target: str) -> str:
        """What "more" means: of a colour its area, of a noun the likeness of the outline, else the word's mass."""
        known = {"colour": "own", "noun": "likeness"}.get(target, "mass")
        return known if np.isfinite(self.of(UNTOUCHED, target, known)).any() else "mass"

    def estimate(self, cell: Cell, measure: str) -> Estimate | None:
        """Mean over scenes, or the ratio to weight 1, with its interval; None where nothing was measured."""
        values = self.cell(cell, measure)
        if not np.isfinite(values).any():
            return None
        if measure in RELATIVE:
            return estimate(ratio_of_sums, values, self.of(UNTOUCHED, cell.target, measure), drawn=self.drawn)
        return estimate(mean, values, drawn=self.drawn)

    def difference(self, one: Cell, two: Cell, measure: str) -> Estimate | None:
        """One cell's mean (or ratio to weight 1) less the other's, with the interval of the paired difference."""
        first, second = self.cell(one, measure), self.cell(two, measure)
        if not (np.isfinite(first) & np.isfinite(second)).any():
            return None
        if measure not in RELATIVE:
            return estimate(mean, first - second, drawn=self.drawn)
        base = self.of(UNTOUCHED, one.target, measure)
        return estimate(ratio_of_sums, first - second, base, drawn=self.drawn)

    def part(self, language: str) -> "Table":
        """The table of the cases in one language."""
        return Table(self._store, [case for case in self.cases if case.language == language], self._samples)

    def complete(self, cells: Sequence[Cell]) -> "Table":
        """The table of the cases that have all these cells."""
        keys = {(cell.effect, cell.target) for cell in cells}
        there = [case for case in self.cases if all(Key(*key, case.index) in self._store for key in keys)]
        return Table(self._store, there, self._samples)

    def response(
        self, arm: str, target: str, measure: str | None = None, ladder: Sequence[float] = LADDER
    ) -> dict[str, Estimate]:
        """How scenes answer to an arm's weights along the ladder: means of `responses`; empty where none has all."""
        found = self.responses(arm, target, measure, ladder)
        return {name: estimate(mean, values, drawn=self.drawn) for name, values in found.items()}

    def responses(
        self, arm: str, target: str, measure: str | None = None, ladder: Sequence[float] = LADDER
    ) -> dict[str, Array]:
        """How each scene answers, as `[scene]`, by what `strength` names or another measure; nan for scenes that do not
        have all weights of the ladder."""
        measure = measure or self.strength(target)
        values = np.array([self.cell(Cell(arm, weight, target), measure) for weight in ladder])
        scenes = [
            response(ladder, column, column[ladder.index(1.0)], DEAD_BANDS[measure])
            if np.isfinite(column).all()
            else {}
            for column in values.T
        ]
        names = dict.fromkeys(name for scene in scenes for name in scene)
        return {name: np.array([scene.get(name, np.nan) for scene in scenes]) for name in names}
