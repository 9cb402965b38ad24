"""What is asked of a method besides its front: removal, failures, many words at once."""

import numpy as np

from promptattn.shapes.study.cells import UNTOUCHED, Cell
from promptattn.shapes.study.methods.cells import COMPANY, COMPANY_WEIGHT, LADDER
from promptattn.shapes.study.statistics import Array, Estimate, estimate, mean, ratio_of_sums
from promptattn.shapes.study.table import Table

__all__ = ["COMPANY_MEASURES", "REMOVING", "broken_worst", "company", "gone", "removal"]

REMOVING = (0.0, -1.0)
"""The weights that are to take a word's object away."""

COMPANY_MEASURES = ("own", "own_present", "likeness", "other", "change", "broken")


def gone(table: Table, cell: Cell) -> Array:
    """1 where the image has lost what the word stands for and is whole, 0 where not, nan where it was never there.

    A colour is there when it covers more than 1 % of the image; a noun when an object of the own colour has the own
    shape. What a broken image lacks was not removed.
    """
    measure = "own_present" if cell.target == "colour" else "shape"
    before, after = (table.of(effect, cell.target, measure) for effect in (UNTOUCHED, cell.effect))
    broken = table.of(cell.effect, cell.target, "broken")
    found = np.where((after == 0) & (broken == 0), 1.0, 0.0)
    return np.where((before == 1) & np.isfinite(after), found, np.nan)


def removal(table: Table, method: str, target: str) -> dict[str, dict[str, Estimate]]:
    """At weights 0 and -1: the share of scenes in which it is gone, and what that does elsewhere."""
    report = {}
    for weight in REMOVING:
        cell = Cell(method, weight, target)
        values = gone(table, cell)
        if not np.isfinite(values).any():
            continue
        report[f"{weight:g}"] = {"gone": estimate(mean, values, drawn=table.drawn)} | {
            name: found
            for name in ("change", "other_present", "broken")
            if (found := table.estimate(cell, name)) is not None
        }
    return report


def broken_worst(table: Table, method: str, target: str) -> tuple[float, Estimate] | None:
    """The weight from 0 to 3 at which most images are broken, and their share."""
    shares = [(weight, table.estimate(Cell(method, weight, target), "broken")) for weight in LADDER]
    known = [(weight, share) for weight, share in shares if share is not None]
    return max(known, key=lambda each: each[1][0], default=None)


def company(table: Table, method: str) -> dict[str, dict[str, Estimate]]:
    """One other word at 0.5 against all other words at 0.5: what becomes of the own object, whose words keep weight 1,
    and of the other object's colour, which is among the weighted words both times.

    `less` is by how much more of the other object's colour is left (relative to weight 1) where all words carry the
    weight than where it does alone: above 0, the word's weight is diluted by the others'.
    """
    cells = {target: Cell(method, COMPANY_WEIGHT, target) for target in COMPANY}
    report = {
        target: {name: found for name in COMPANY_MEASURES if (found := table.estimate(cell, name)) is not None}
        for target, cell in cells.items()
    }
    one, every = (table.of(cells[target].effect, target, "other") for target in COMPANY)
    base = table.of(UNTOUCHED, COMPANY[0], "other")
    if np.isfinite(one - every).any():
        report["less"] = {"other": estimate(ratio_of_sums, every - one, base, drawn=table.drawn)}
    return {name: values for name, values in report.items() if values}
