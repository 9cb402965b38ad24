"""A picture of where words are grounded: IoU by layer and part of the run, one panel per model and kind of word."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from promptattn.export.sheet import FAINT, GROUND, INK
from promptattn.export.text import Draw, font
from promptattn.maps.colormap import colorize
from promptattn.shapes.evaluation.report import short
from promptattn.shapes.evaluation.selections import QUARTERS

__all__ = ["chart"]

CELL, MARGIN, LABEL, GAP, TITLE = (84, 34), 28, 250, 40, 64
HIGHEST = 0.8
"""The IoU at the bright end of the scale; the same for all panels."""

Scores = dict[str, dict[str, dict[str, float]]]
"""kind of word -> row -> column -> IoU."""


def chart(reports: Mapping[str, Mapping[str, Any]]) -> Image.Image:
    """One line of panels (nouns, colours) per model; `reports` are those of `scripts/evaluate_shapes.py` by title."""
    models = {title: _scores(report["maps"]) for title, report in reports.items()}
    columns = [*(label.split()[1] for label in QUARTERS), "all"]
    panel = len(columns) * CELL[0]
    width = 2 * MARGIN + LABEL + 2 * panel + GAP
    height = (
        2 * MARGIN + sum(TITLE + (len(scores["noun"]) + 1) * CELL[1] + GAP for scores in models.values()) - GAP + 24
    )
    sheet = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(sheet)
    y = MARGIN
    for title, scores in models.items():
        for index, (kind, rows) in enumerate(scores.items()):
            x = MARGIN + LABEL + index * (panel + GAP)
            _panel(draw, (x, y), f"{title}: {kind}s" if index == 0 else f"{kind}s", rows, columns, names=index == 0)
        y += TITLE + (len(scores["noun"]) + 1) * CELL[1] + GAP
    note = "mean IoU at one threshold, chosen on the other half of the prompts; columns: quarters of the run"
    draw.text((MARGIN, height - MARGIN - 10), note, font=font(14), fill=FAINT)
    return sheet


def _scores(rows: Sequence[Mapping[str, Any]]) -> Scores:
    found: Scores = {"noun": {}, "colour": {}}
    for kind, scores in found.items():
        for row in rows:
            if row["kind"] == "layer":
                scores.setdefault(short(row["name"]), {})["all"] = row[kind]["iou"]
            elif row["kind"] == "layer and steps":
                name, part = row["name"].split(", ")
                scores.setdefault(short(name), {})[part.split()[1]] = row[kind]["iou"]
        for row in rows:
            name, _, part = row["name"].partition(", ")
            if row["kind"] in ("rule", "steps") and name == "coherence" and (not part or part in QUARTERS):
                scores.setdefault("all, by coherence", {})[part.split()[1] if part else "all"] = row[kind]["iou"]
    return found


def _panel(
    draw: Draw,
    place: tuple[int, int],
    title: str,
    rows: Mapping[str, Mapping[str, float]],
    columns: Sequence[str],
    *,
    names: bool,
) -> None:
    x, y = place
    wide, high = CELL
    draw.text((x - (LABEL if names else 0), y), title, font=font(20), fill=INK)
    for column, label in enumerate(columns):
        draw.text((x + column * wide + 8, y + 34), label, font=font(15), fill=FAINT)
    for line, (name, cells) in enumerate(rows.items()):
        top = y + TITLE + line * high
        if names:
            draw.text((x - LABEL, top + 8), name, font=font(15), fill=INK)
        for column, label in enumerate(columns):
            if label in cells:
                _cell(draw, (x + column * wide, top), cells[label])


def _cell(draw: Draw, place: tuple[int, int], value: float) -> None:
    x, y = place
    level = np.clip(np.array([[value / HIGHEST]]), 0, 1)
    colour = tuple(int(channel) for channel in colorize(level, "ember")[0, 0])
    draw.rectangle((x, y, x + CELL[0] - 3, y + CELL[1] - 3), fill=colour)
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    draw.text((x + 24, y + 7), f"{value:.2f}", font=font(15), fill=GROUND if luminance > 120 else INK)
