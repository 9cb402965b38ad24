"""From results to one report of all methods, as data that JSON can hold; estimates are [value, low, high]."""

from collections.abc import Mapping, Sequence
from typing import Any

from promptattn.shapes.study.cells import Cell
from promptattn.shapes.study.methods.advice import advice
from promptattn.shapes.study.methods.cells import COMPANY, COMPANY_SCENES, TARGETS, WEIGHTS
from promptattn.shapes.study.methods.contests import Contest
from promptattn.shapes.study.methods.fronts import DIRECTIONS, Front, front
from promptattn.shapes.study.methods.losses import losses
from promptattn.shapes.study.methods.questions import company, contests, dilution, usable
from promptattn.shapes.study.statistics import Estimate
from promptattn.shapes.study.table import MEASURES, Table
from promptattn.shapes.study.wording import rounded

__all__ = ["COMPANY_ASKED", "build"]

COMPANY_ASKED = {"own": True, "own_present": True, "likeness": True, "change": False, "broken": False}
"""What is asked of the image where other words carry the weight, and whether more is better."""


def build(table: Table, methods: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that follows from the results of these methods; those without results are left out.

    `settings` go into the report as they are.
    """
    methods = [method for method in methods if _painted(table, method)]
    asked = {target: contests(table, methods, target) for target in TARGETS}
    fronts = {
        target: [front(table, methods, target, way, level) for way in DIRECTIONS for level in way.levels]
        for target in TARGETS
    }
    few = table.first(COMPANY_SCENES)
    together = [
        company(few, methods, target, measure, more=more)
        for measure, more in COMPANY_ASKED.items()
        for target in COMPANY
    ]
    diluted = dilution(few, methods)
    cells = {target: {method: _weights(table, method, target) for method in methods} for target in TARGETS}
    report = {
        "settings": dict(settings),
        "methods": methods,
        "cells": cells,
        "questions": {target: [_answers(each) for each in asked[target]] for target in TARGETS},
        "usable": {target: {method: usable(table, method, target) for method in methods} for target in TARGETS},
        "fronts": {target: [_front(each) for each in fronts[target]] for target in TARGETS},
        "company": [_answers(each) for each in (*together, *_others(few, methods), diluted)],
        "losses": losses(
            [*(each for target in TARGETS for each in asked[target]), *together, diluted],
            [each for target in TARGETS for each in fronts[target]],
        ),
        "advice": advice(asked, fronts, cells),
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


def _others(table: Table, methods: Sequence[str]) -> list[Contest]:
    """How much of the other object's colour is left, whose word is among the weighted: known, not judged."""
    return [company(table, methods, target, "other") for target in COMPANY]


def _answers(contest: Contest) -> dict[str, Any]:
    return {
        "question": contest.question,
        "measure": contest.measure,
        "answers": {method: contest.estimate(method) for method in contest.answers},
        "leaders": list(contest.leaders()),
        "behind": {method: behind for method in contest.answers if (behind := contest.behind(method))},
    }


def _front(found: Front) -> dict[str, Any]:
    return _answers(found.sides) | {
        "direction": found.direction.name,
        "level": found.level,
        "weights": found.weights,
        "reached": {method: found.reached(method) for method in found.weights},
    }
