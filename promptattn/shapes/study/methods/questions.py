"""What is asked of every method besides its front: strength, response, removal, failures, many words at once."""

from collections.abc import Callable, Sequence

import numpy as np

from promptattn.shapes.study.cells import UNTOUCHED, Cell
from promptattn.shapes.study.methods.cells import COMPANY_WEIGHT, LADDER
from promptattn.shapes.study.methods.contests import Contest, sampled
from promptattn.shapes.study.statistics import Array, mean
from promptattn.shapes.study.table import MEASURES, Table

__all__ = [
    "MOST_BROKEN",
    "REMOVING",
    "broken",
    "company",
    "contests",
    "dilution",
    "gone",
    "removal",
    "response",
    "strongest",
    "usable",
]

REMOVING = (0.0, -1.0)
"""The weights that are to take a word's object away."""

MOST_BROKEN = 0.05
"""A weight at which more than this share of the images is broken is no use."""


def contests(table: Table, methods: Sequence[str], target: str) -> list[Contest]:
    """All questions about one kind of word."""
    return [
        strongest(table, methods, target),
        *(removal(table, methods, target, weight) for weight in REMOVING),
        *(response(table, methods, target, name) for name in ("rises", "monotone", "turns_back")),
        *(broken(table, methods, target, weight) for weight in LADDER if weight != 1),
    ]


def strongest(table: Table, methods: Sequence[str], target: str) -> Contest:
    """The own object's area at the weight above 1 that gives most of it, of those at which images stay whole."""

    def most(method: str) -> Array | None:
        weights = usable(table, method, target)
        values = [_relative(table, Cell(method, weight, target), "own") for weight in weights]
        return max((each for each in values if each is not None), key=lambda each: float(each[0]), default=None)

    return _contest(f"{target}: most of the own area", "own", methods, most, more=True)


def usable(table: Table, method: str, target: str) -> tuple[float, ...]:
    """The weights above 1 at which at most 5 % of the images are broken."""
    shares = {weight: mean(table.cell(Cell(method, weight, target), "broken")) for weight in LADDER if weight > 1}
    return tuple(weight for weight, share in shares.items() if share <= MOST_BROKEN)


def removal(table: Table, methods: Sequence[str], target: str, weight: float) -> Contest:
    """The share of scenes in which the word's object is gone."""
    return _contest(
        f"{target}: gone at weight {weight:g}",
        "gone",
        methods,
        lambda method: sampled(gone(table, Cell(method, weight, target)), table.drawn),
        more=True,
    )


def gone(table: Table, cell: Cell) -> Array:
    """1 where the image has lost what the word stands for and is whole, 0 where not, nan where it was never there.

    A colour is there when it covers more than 1 % of the image; a noun when an object of the own colour has the own
    shape. What a broken image lacks was not removed.
    """
    measure = "own_present" if cell.target == "colour" else "shape"
    before, after = (table.of(effect, cell.target, measure) for effect in (UNTOUCHED, cell.effect))
    found = np.where((after == 0) & (table.of(cell.effect, cell.target, "broken") == 0), 1.0, 0.0)
    return np.where((before == 1) & np.isfinite(after), found, np.nan)


_RESPONSES = {
    "rises": ("strength rises with the weight (rank correlation above 0)", True),
    "monotone": ("strength never falls from weight to weight", True),
    "turns_back": ("strength falls clearly somewhere", False),
}


def response(table: Table, methods: Sequence[str], target: str, name: str) -> Contest:
    """The share of scenes that answer to weights from 0 to 3 in this way; see `study.response`."""
    question, more = _RESPONSES[name]

    def share(method: str) -> Array | None:
        found = table.responses(method, target, ladder=LADDER)
        return sampled(found[name], table.drawn) if found else None

    return _contest(f"{target}: {question}", name, methods, share, more=more)


def broken(table: Table, methods: Sequence[str], target: str, weight: float) -> Contest:
    """The share of broken images."""
    return _contest(
        f"{target}: image broken at weight {weight:g}",
        "broken",
        methods,
        lambda method: sampled(table.cell(Cell(method, weight, target), "broken"), table.drawn),
        more=False,
    )


def company(table: Table, methods: Sequence[str], target: str, measure: str, *, more: bool = True) -> Contest:
    """What becomes of the image where one other word (`one`) or all others (`all`) carry 0.5 and the own object's keep
    weight 1."""
    words = {"one": "one other word", "all": "all other words"}[target]

    def found(method: str) -> Array | None:
        cell = Cell(method, COMPANY_WEIGHT, target)
        if measure in ("own", "other"):
            return _relative(table, cell, measure)
        return sampled(table.cell(cell, measure), table.drawn)

    return _contest(f"{words} at {COMPANY_WEIGHT:g}: {MEASURES[measure]}", measure, methods, found, more=more)


def dilution(table: Table, methods: Sequence[str]) -> Contest:
    """By how much more of the other object's colour is left (relative to weight 1) where all other words carry 0.5,
    than where that colour does alone: above 0, its weight is diluted by the others'. Below 0, that its whole object was
    named down is seen as well, so that less is not better."""

    def found(method: str) -> Array | None:
        alone, among = (_relative(table, Cell(method, COMPANY_WEIGHT, target), "other") for target in ("one", "all"))
        return None if alone is None or among is None else among - alone

    return _contest("other colour left by all other words, less by it alone", "other", methods, found, more=False)


def _relative(table: Table, cell: Cell, measure: str) -> Array | None:
    values = table.cell(cell, measure)
    if not np.isfinite(values).any():
        return None
    return sampled(values, table.drawn, table.of(UNTOUCHED, cell.target, measure))


def _contest(
    question: str, measure: str, methods: Sequence[str], answer: Callable[[str], Array | None], *, more: bool
) -> Contest:
    answers = {method: answer(method) for method in methods}
    known = {method: each for method, each in answers.items() if each is not None and np.isfinite(each[0])}
    return Contest(question, measure, known, more)
