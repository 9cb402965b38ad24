"""The figures of an evaluation as Markdown: tables that can be pasted into a document."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from promptattn.shapes.evaluation.tables import Row
from promptattn.shapes.markdown import titled

__all__ = ["markdown", "short"]

TITLES = {
    "rule": "Rules that combine all layers",
    "gain": "What the default gains, word by word",
    "group": "Groups of layers",
    "layer": "Single layers",
    "head": "Single heads",
    "chosen": "Chosen on one half of the prompts, tested on the other, both ways round",
    "steps": "Parts of the run",
    "cumulative": "From the first step on",
    "parts": "The default, by what is seen, by language, and for whole phrases",
    "absent": "Words that are not in the scene",
    "peer": "Other packages, on the same pictures",
}

COLUMNS = {"iou": "IoU", "ap": "AP", "pointing": "pointing", "outside": "outside", "leakage": "on the other"}


def markdown(report: Mapping[str, Any]) -> str:
    """All tables of a report as written by `scripts/evaluate_shapes.py`."""
    parts = []
    if "pictures" in report:
        columns = list(dict.fromkeys(column for row in report["pictures"].values() for column in row))
        rows = [[name, *(_number(row.get(c), 1) for c in columns)] for name, row in report["pictures"].items()]
        parts.append(titled("Pictures right (%)", ["prompts", *columns], rows))
    for kind, title in TITLES.items():
        found = [row for row in report.get("maps", ()) if row["kind"] == kind]
        if found:
            parts.append(titled(title, ["", *_header(found)], [line for row in found for line in _lines(row)]))
            parts += [_choices(row) for row in found if "choices" in row]
            parts += [_apart(row) for row in found if "different" in row]
    return "\n\n".join(parts) + "\n"


def short(name: str) -> str:
    """A layer's name without the parts that say nothing: `up_blocks.1.attentions.0`, `transformer_blocks.3`."""
    return (
        name.replace(".transformer_blocks.0.attn2", "").removesuffix(".attn")
        if " " not in name
        else " ".join(short(part) for part in name.split(" "))
    )


def _header(rows: Sequence[Row]) -> list[str]:
    controls = ["IoU (AP), another picture's mask", "IoU (AP), the other object"] if _controlled(rows) else []
    return ["word", "n", *COLUMNS.values(), *controls]


def _controlled(rows: Sequence[Row]) -> bool:
    return any("shuffled" in scores for row in rows for scores in row.values() if isinstance(scores, dict))


def _lines(row: Row) -> list[list[str]]:
    """One line per kind of word; a control that a line lacks is a dash."""
    lines = []
    for label, scores in row.items():
        if not isinstance(scores, dict):
            continue
        cells = [short(row["name"]), label, str(scores["n"])]
        for column in COLUMNS:
            cells.append(_scored(scores, column))
        for control in ("shuffled", "other"):
            if control in scores:
                part = scores[control]
                cells.append(f"{_number(part.get('iou'))} ({_number(part.get('ap'))})")
        lines.append(cells)
    return lines


def _scored(scores: Mapping[str, Any], column: str) -> str:
    if not scores["n"] or _missing(scores[column]):
        return "-"
    low, high = scores[f"{column}_interval"]
    interval = f" ({_number(low)} to {_number(high)})" if column in ("iou", "ap") else ""
    return _number(scores[column]) + interval


def _choices(row: Row) -> str:
    made = [short(choice) for choice in row["choices"]]
    return f"{row['name']}: on the first half {made[0]}; on the second {made[1]}."


def _apart(row: Row) -> str:
    return f"{row['name']}: its pictures differ from those that were judged by at most {row['different']} of 255."


def _number(value: Any, digits: int = 2) -> str:
    return "-" if _missing(value) else f"{value:.{digits}f}"


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
