"""From results to one report: plain data for JSON, and tables in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from promptattn.shapes.markdown import titled
from promptattn.shapes.study.calibration import CALIBRATED, match, worth
from promptattn.shapes.study.cells import ODDS, WEIGHTS, Cell
from promptattn.shapes.study.statistics import Estimate
from promptattn.shapes.study.table import MEASURES, Table
from promptattn.shapes.study.wording import interval, rounded, shown

__all__ = ["build", "markdown"]

_BESIDE = ("own", "likeness", "mass", "other", "other_present", "other_likeness", "other_mass", "change", "broken")
_COMPARED = ("other", "other_present", "other_likeness", "change", "backwards", "broken")
_BY_LANGUAGE = ("auto", "denoiser", "text", "a1111")
_LESS_IS_BETTER = {"other": False, "other_present": False, "other_likeness": False, "other_mass": False}


def build(table: Table, arms: Sequence[str], targets: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that follows from the results, as data that JSON can hold; estimates are [value, low, high]."""
    report: dict[str, Any] = {"settings": dict(settings), "cells": {}, "responses": {}, "worth": {}, "matches": {}}
    for target in targets:
        report["cells"][target] = {arm: _arm(table, arm, target) for arm in arms}
        report["responses"][target] = {arm: table.response(arm, target) for arm in arms if arm != "odds"}
        if "a1111" in arms:
            report["worth"][target] = _worths(table, target)
            found = [match(table, target, weight, _BESIDE) for weight in WEIGHTS]
            report["matches"][target] = [asdict(each) for each in found if each is not None]
    report["languages"] = _languages(table, arms, targets)
    report["losses"] = [*_losses(table, arms, targets), *_matched_losses(report["matches"])]
    plain: dict[str, Any] = rounded(report)
    return plain


def _arm(table: Table, arm: str, target: str) -> dict[str, dict[str, Estimate]]:
    cells = [Cell(arm, weight, target) for weight in (ODDS if arm == "odds" else WEIGHTS)]
    found = {
        f"{cell.weight:g}": {name: each for name in MEASURES if (each := table.estimate(cell, name)) is not None}
        for cell in cells
    }
    return {weight: values for weight, values in found.items() if values}


def _worths(table: Table, target: str) -> dict[str, dict[str, Estimate]]:
    return {
        measure: found
        for measure in CALIBRATED
        if (
            found := {
                f"{weight:g}": each for weight in WEIGHTS if (each := worth(table, target, measure, weight)) is not None
            }
        )
    }


def _languages(table: Table, arms: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    """The strength of each cell by language of the prompt; empty where there is only one."""
    languages = sorted({case.language for case in table.cases})
    if len(languages) < 2:
        return {}
    return {
        language: {
            target: {
                arm: {
                    f"{cell.weight:g}": each
                    for cell in (Cell(arm, weight, target) for weight in WEIGHTS)
                    if (each := part.estimate(cell, part.strength(target))) is not None
                }
                for arm in arms
                if arm != "odds"
            }
            for target in targets
        }
        for language in languages
        for part in [table.part(language)]
    }


def _losses(table: Table, arms: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Where the default is worse than embedding scaling at the same weight, beyond what chance explains."""
    if not {"auto", "a1111"} <= set(arms):
        return []
    found = []
    for target in targets:
        for weight in WEIGHTS:
            ours, theirs = (Cell(arm, weight, target) for arm in ("auto", "a1111"))
            for measure in _COMPARED:
                difference = table.difference(ours, theirs, measure)
                if difference is not None and _is_worse(measure, difference):
                    one, two = (table.estimate(cell, measure) for cell in (ours, theirs))
                    assert one is not None
                    assert two is not None
                    found.append(_loss(f"{target}, weight {weight:g}", measure, one[0], two[0]))
    return found


def _matched_losses(matches: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    found = []
    for target, rows in matches.items():
        for row in rows:
            place = f"{target}, scaling of {row['weight']:g} against odds of {row['odds']:.3g}"
            if row["backwards"]:
                continue
            if not row["reached"]:
                found.append(f"{place}: no odds change the own object as much")
                continue
            for measure, (ours, theirs, difference) in row["beside"].items():
                if measure in _COMPARED and _is_worse(measure, difference):
                    found.append(_loss(f"{place}, same change", measure, ours, theirs))
    return found


def _is_worse(measure: str, difference: Estimate) -> bool:
    _, low, high = difference
    return low > 0 if _LESS_IS_BETTER.get(measure, True) else high < 0


def _loss(place: str, measure: str, ours: float, theirs: float) -> str:
    return f"{place}: {MEASURES[measure]}: {shown(measure, ours)} against {shown(measure, theirs)}"


# Markdown.


def markdown(report: Mapping[str, Any], measures: Iterable[str] = MEASURES) -> str:
    """The report as tables: for each target and measure the weights down, the arms across."""
    parts = []
    for target, arms in report["cells"].items():
        for measure in measures:
            parts.append(_cells_table(target, measure, {arm: arms[arm] for arm in arms if arm != "odds"}))
        parts.append(_odds_table(target, arms.get("odds", {}), measures))
        parts.append(_language_table(target, report["languages"]))
        parts.append(_response_table(target, report["responses"][target]))
        parts.append(_worth_table(target, report["worth"].get(target, {})))
        parts.append(_match_table(target, report["matches"].get(target, [])))
    losses = "\n".join(f"- {each}" for each in report["losses"]) or "None."
    parts.append(
        f"### Losses\n\nWhere odds (`auto`) are worse than embedding scaling, intervals apart from 0:\n\n{losses}"
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _cells_table(target: str, measure: str, arms: Mapping[str, Any]) -> str:
    weights = [f"{weight:g}" for weight in WEIGHTS]
    shown = [arm for arm in arms if any(measure in arms[arm].get(weight, {}) for weight in weights)]
    rows = [
        [weight, *(interval(measure, arms[arm].get(weight, {}).get(measure)) for arm in shown)] for weight in weights
    ]
    return titled(f"{target}: {MEASURES[measure]}", ["weight", *shown], rows) if shown else ""


def _odds_table(target: str, odds: Mapping[str, Any], measures: Iterable[str]) -> str:
    shown = [measure for measure in measures if any(measure in values for values in odds.values())]
    rows = [[each, *(interval(name, values.get(name)) for name in shown)] for each, values in odds.items()]
    return (
        titled(f"{target}: plain odds in the denoiser", ["odds", *(MEASURES[m] for m in shown)], rows) if rows else ""
    )


def _language_table(target: str, languages: Mapping[str, Any]) -> str:
    """Strength (area of a colour, likeness of a noun's outline) by language, for the arms that say most."""
    columns = [(language, arm) for language in languages for arm in _BY_LANGUAGE if arm in languages[language][target]]
    rows = [
        [weight, *(interval("", languages[language][target][arm].get(weight)) for language, arm in columns)]
        for weight in (f"{each:g}" for each in WEIGHTS)
    ]
    head = ["weight", *(f"{language}, {arm}" for language, arm in columns)]
    return titled(f"{target}: strength by language of the prompt", head, rows) if columns else ""


def _response_table(target: str, responses: Mapping[str, Any]) -> str:
    head = ["arm", "rank correlation", "never falls", "falls clearly somewhere"]
    rows = [
        [arm, interval("", each["spearman"]), *(interval("broken", each[n]) for n in ("monotone", "turns_back"))]
        for arm, each in responses.items()
        if each
    ]
    return titled(f"{target}: response over weights 0 to 3, scenes", head, rows) if rows else ""


def _worth_table(target: str, worths: Mapping[str, Mapping[str, Estimate]]) -> str:
    weights = list(dict.fromkeys(weight for each in worths.values() for weight in each))
    rows = [[weight, *(interval("", worths[m].get(weight)) for m in worths)] for weight in weights]
    head = ["A1111 weight", *(f"g by {measure}" for measure in worths)]
    return titled(f"{target}: the g for which odds of w ** g act as embedding scaling of w", head, rows) if rows else ""


def _match_table(target: str, matches: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in matches for name in row["beside"]))
    rows = [
        [
            f"{row['weight']:g}",
            _odds_of(row),
            *(
                f"{shown(n, row['beside'][n][0])} / {shown(n, row['beside'][n][1])}" if n in row["beside"] else ""
                for n in names
            ),
        ]
        for row in matches
    ]
    head = ["A1111 weight", "odds of the same change", *(f"{MEASURES[n]} (odds / scaling)" for n in names)]
    return titled(f"{target}: at the same change of the own object", head, rows) if rows else ""


def _odds_of(row: Mapping[str, Any]) -> str:
    odds = f"{row['odds']:.3g}" if row["reached"] else f"not reached (nearest {row['odds']:.3g})"
    return odds + (" (scaling acts backwards)" if row["backwards"] else "")
