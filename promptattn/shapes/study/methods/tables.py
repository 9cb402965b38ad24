"""The report of all methods in Markdown: one table that sums up, then what it rests on."""

from collections.abc import Mapping, Sequence
from typing import Any

from promptattn.shapes.markdown import titled
from promptattn.shapes.study.methods.fronts import DIRECTIONS
from promptattn.shapes.study.methods.losses import OURS
from promptattn.shapes.study.table import MEASURES
from promptattn.shapes.study.wording import interval

__all__ = ["markdown"]

_SUMMARY = (
    "most of the own area",
    "gone at weight 0",
    "gone at weight -1",
    "more weight gives more",
    "falls clearly somewhere",
    "change elsewhere at 1.1 times the strength",
    "change elsewhere at half the strength",
)
_NOTES = """\
{scenes} scenes in each cell; brackets hold 95 % bootstrap intervals over scenes, not corrected for their number. An
asterisk marks what is clearly worse than the best of its column: the interval of the paired difference does not hold 0.

- More weight gives more: of a colour's area, and of how much the outline that stands there is like a noun's shape.
- Strength: the own object's area relative to weight 1; for less of a noun, the scenes that show its shape. Methods have
  the same strength at different weights, found between those that were painted along straight lines.
- Gone: a colour from all but 1 % of the image, a noun's shape from the object of the own colour; broken images do not
  count.
- Images break: from this weight above 1 on, more than 5 % of them are no picture of their caption any more."""
_SHOWN = ("own", "shape", "likeness", "other", "change", "broken", "backwards")


def markdown(report: Mapping[str, Any]) -> str:
    """Summary, advice, losses, fronts, many words at once, then every measure over the weights."""
    settings, methods = report["settings"], report["methods"]
    if not methods:
        return f"# Weighting methods on {settings.get('model', 'this model')}\n\nNo method has all its weights yet.\n"
    parts = [
        f"# Weighting methods on {settings.get('model', 'this model')}",
        _NOTES.format(scenes=settings.get("scenes", "")),
        *_missing(settings.get("refused", {})),
        *([f"Without all their weights yet: {', '.join(report['unpainted'])}."] if report["unpainted"] else []),
        _summary(report),
        _listed("Advice", report["advice"], "Nothing follows yet."),
        _listed(f"Losses of {OURS}", report["losses"], "None."),
        *(_fronts(report, target) for target in report["fronts"]),
        _company(report),
        *(_cells(report, target, measure) for target in report["cells"] for measure in _SHOWN),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _missing(refused: Mapping[str, str]) -> list[str]:
    return [f"Not served by this model: {method} ({why})" for method, why in refused.items()]


def _listed(title: str, lines: Sequence[str], otherwise: str) -> str:
    return f"### {title}\n\n" + ("\n".join(f"- {line}" for line in lines) or otherwise)


def _summary(report: Mapping[str, Any]) -> str:
    """One row for each word and method: what it gives, takes, costs and breaks."""
    rows = []
    for target in report["cells"]:
        asked = _asked(report, target)
        for method in report["methods"]:
            answers = [_starred(asked[head], method) for head in _SUMMARY]
            rows.append([target, method, *answers, _breaking(report, target, method)])
    return titled("The methods side by side", ["word", "method", *_SUMMARY, "images break from weight"], rows)


def _asked(report: Mapping[str, Any], target: str) -> dict[str, Any]:
    """The questions of the summary, by its heads."""
    strongest, zero, negative, rises, _, turns, *_ = report["questions"][target]
    more, less = (
        next(each for each in report["fronts"][target] if (each["direction"], each["level"]) == (way.name, way.middle))
        for way in DIRECTIONS
    )
    return dict(zip(_SUMMARY, (strongest, zero, negative, rises, turns, more, less), strict=True))


def _breaking(report: Mapping[str, Any], target: str, method: str) -> str:
    usable = [f"{weight:g}" for weight in report["usable"][target][method]]
    weights = [weight for weight in report["cells"][target][method] if float(weight) > 1]
    return next((weight for weight in weights if weight not in usable), "none")


def _starred(asked: Mapping[str, Any], method: str) -> str:
    """The answer, marked where the best is clearly better."""
    answer = interval(asked["measure"], asked["answers"].get(method))
    if not answer:
        return "not that strong" if "level" in asked else "-"
    best = asked["leaders"][0] if asked["leaders"] else None
    return answer + (" *" if best in asked["behind"].get(method, {}) else "")


def _fronts(report: Mapping[str, Any], target: str) -> str:
    fronts = report["fronts"][target]
    head = ["method", *(f"{each['direction']}, {each['level']:g}" for each in fronts)]
    rows = [[method, *(_at(each, method) for each in fronts)] for method in report["methods"]]
    title = f"{target.capitalize()}: mean pixel change elsewhere at equal strength (and the weight that has it)"
    return titled(title, head, rows)


def _at(front: Mapping[str, Any], method: str) -> str:
    answer = _starred(front, method)
    weight = front["weights"].get(method)
    return answer if weight is None or answer == "not that strong" else f"{answer}, w = {weight:.2f}"


def _company(report: Mapping[str, Any]) -> str:
    asked = [each for each in report["company"] if each["answers"]]
    if not asked:
        return ""
    head = ["method", *(each["question"] for each in asked)]
    rows = [[method, *(_starred(each, method) for each in asked)] for method in report["methods"]]
    return titled(f"Many words down at once, {report['settings']['scenes_in_company']} scenes", head, rows)


def _cells(report: Mapping[str, Any], target: str, measure: str) -> str:
    methods = report["cells"][target]
    weights = list(dict.fromkeys(weight for values in methods.values() for weight in values))
    rows = [
        [weight, *(interval(measure, methods[m].get(weight, {}).get(measure)) for m in methods)] for weight in weights
    ]
    return titled(f"{target.capitalize()}: {MEASURES[measure]}", ["weight", *methods], rows)
