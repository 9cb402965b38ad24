"""A sweep as JSON: what was swept, what all images have in common, and every image in numbers."""

from typing import TYPE_CHECKING, Any

from promptattn.maps import HeatMap
from promptattn.sweeps.cells import Cell
from promptattn.sweeps.statistics import share_of, statistics

if TYPE_CHECKING:
    from promptattn.sweeps.result import Sweep

__all__ = ["FORMAT", "described"]

FORMAT = "promptattn sweep 1"


def described(sweep: "Sweep") -> dict[str, Any]:
    """What `sweep.json` holds, but for the names of files."""
    maps = [sweep.maps_of(axis) for axis in range(len(sweep.subjects))]
    return {
        "format": FORMAT,
        "template": sweep.design.template,
        "negative_template": sweep.design.negative,
        "axes": [
            {"written": axis.written, "values": list(axis.values), "kind": subject.kind, "words": subject.label}
            for axis, subject in zip(sweep.design.axes, sweep.subjects, strict=True)
        ],
        "seeds": list(sweep.seeds),
        "settings": sweep.settings,
        "cells": [
            _cell(cell) | {"swept": [_swept(column[index]) for column in maps]}
            for index, cell in enumerate(sweep.cells)
        ],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "values": list(cell.point.values),
        "prompt": cell.point.prompt,
        "negative_prompt": cell.point.negative,
        "seed": cell.seed,
    }
    maps = cell.maps
    if maps is not None:
        entry["words"] = [
            {"text": word.text, "occurrence": word.occurrence, "weight": word.weight, "share": share_of(maps[word])}
            for word in maps.words
            if maps.state(word) == "recorded" and not word.is_punctuation
        ]
    return entry


def _swept(heat: HeatMap | None) -> dict[str, Any] | None:
    return None if heat is None else {"words": heat.label, "weight": heat.weight} | statistics(heat)
