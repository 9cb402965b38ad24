"""From results to one report of all methods, as data that JSON can hold; estimates are [value, low, high]."""

from collections.abc import Mapping, Sequence
from typing import Any

from promptattn.shapes.study.cells import Cell, grid
from promptattn.shapes.study.methods.advice import advice
from promptattn.shapes.study.methods.cells import COMPANY, COMPANY_WEIGHT, TARGETS, WEIGHTS
from promptattn.shapes.study.methods.contests import Contest
from promptattn.shapes.study.methods.fronts import DIRECTIONS, Front, front
from promptattn.shapes.study.methods.losses import losses
from promptattn.shapes.study.methods.questions import company, contests, dilution, usable
from promptattn.shapes.study.statistics import Estimate
from promptattn.shapes.study.table import MEASURES, Table
from promptattn.shapes.study.wording import rounded

__all__ = ["build"]

# What is asked of the image where other words carry the weight, and whether more is better; None where it is neither.
_COMPANY = {"own_present": True, "likeness": True, "broken": False, "own": None, "other": None, "change": None}


def build(table: Table, methods: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that follows from the results of these methods, over the scenes that all of them have.

    Methods without results are left out. `settings` go into the report as they are, with the number of scenes.
    """
    wanted, methods = methods, [method for method in methods if _painted(table, method)]
    few = table.complete(grid(methods, COMPANY, (1.0, COMPANY_WEIGHT)))
    table = table.complete(grid(methods, TARGETS, WEIGHTS))
    if not table.cases:
        methods = []
    asked = {target: contests(table, methods, target) for target in TARGETS}
    fronts = {
        target: [front(table, methods, target, way, level) for way in DIRECTIONS for level in way.levels]
        for target in TARGETS
    }
    together = {
        (measure, target): company(few, methods, target, measure, more=bool(more))
        for measure, more in _COMPANY.items()
        for target in COMPANY
    }
    judged = [each for (name, _), each in together.items() if _COMPANY[name] is not None]
    known = [each for (name, _), each in together.items() if _COMPANY[name] is None] + [dilution(few, methods)]
    cells = {target: {method: _weights(table, method, target) for method in methods} for target in TARGETS}
    report = {
        "settings": {**settings, "scenes": len(table.cases), "scenes_in_company": len(few.cases)},
        "methods": methods,
        "unpainted": [method for method in wanted if method not in (*methods, *settings.get("refused", ()))],
        "cells": cells,
        "questions": {target: [_answers(each) for each in asked[target]] for target in TARGETS},
        "usable": {target: {method: usable(table, method, target) for method in methods} for target in TARGETS},
        "fronts": {target: [_front(each) for each in fronts[target]] for target in TARGETS},
        "company": [*(_answers(each) for each in judged), *(_answers(each, judged=False) for each in known)],
        "losses": losses(
            [*(each for target in TARGETS for each in asked[target]), *judged],
            [each for target in TARGETS for each in fronts[target]],
        ),
        "advice": advice(asked, fronts, judged, cells),
    }
    plain: dict[str, Any] = rounded(report)
    return plain


def _painted(table: Table, method: str) -> bool:
    """Whether anything is known of it. Methods that share an effect with another are known from that."""
    return all(
        table.estimate(Cell(method, weight, target), "own") is not None for weight in WEIGHTS for target in TARGETS
    )


def _weights(table: Table, method: str, target: str) -> dict[str, dict[str, Estimate]]:
    return {
        f"{weight:g}": {
            name: found
            for name in MEASURES
            if (found := table.estimate(Cell(method, weight, target), name)) is not None
        }
        for weight in WEIGHTS
    }


def _answers(contest: Contest, *, judged: bool = True) -> dict[str, Any]:
    """With who leads and who is behind, unless it is only told, not judged."""
    return {
        "question": contest.question,
        "measure": contest.measure,
        "answers": {method: contest.estimate(method) for method in contest.answers},
        "leaders": list(contest.leaders()) if judged else [],
        "behind": {method: found for method in contest.answers if (found := contest.behind(method))} if judged else {},
    }


def _front(found: Front) -> dict[str, Any]:
    return _answers(found.sides) | {
        "direction": found.direction.name,
        "level": found.level,
        "weights": found.weights,
        "reached": {method: found.reached(method) for method in found.weights},
    }
