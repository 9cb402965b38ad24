"""What a page says about the run, and about what was not recorded in it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from promptattn.maps import HeatMaps

__all__ = ["Missing", "facts", "missing"]


class Missing(NamedTuple):
    """Something that a page could show had it been recorded, and how to record it: in Python, and as a setting."""

    what: str
    capture: str
    setting: str


def missing(maps: HeatMaps) -> list[Missing]:
    """What was not recorded of this image."""
    found = []
    if not maps.records:
        looked = 'Capture(relations=["image->text"])', "capture.relations=[image->text]"
        found.append(Missing("Where words are looked at", *looked))
    if any(record.per_step is None for record in maps.records):
        found.append(Missing("Step by step", "Capture(per_step=True)", "capture.per_step=true"))
    if any(record.per_head is None for record in maps.records):
        found.append(Missing("Head by head", "Capture(per_head=True)", "capture.per_head=true"))
    if not maps.patches:
        patches = Missing("From place to place", "Capture(patches=[(0.50, 0.50)])", "capture.patches=[[0.50, 0.50]]")
        found.append(patches)
    if not maps.text_attention:
        relations = 'Capture(relations=["image->text", "text->text"])', "capture.relations=[image->text, text->text]"
        found.append(Missing("Between words", *relations))
    return found


def facts(maps: HeatMaps) -> list[tuple[str, str]]:
    """The image, its layers and the run's settings, as names and values."""
    grids = sorted({layer.grid for layer in maps.records}, reverse=True)
    height, width = maps.image_size
    rows = [
        ("image", f"{width} × {height} pixels"),
        ("layers", f"{len(maps.records)} at {', '.join(f'{w} × {h}' for h, w in grids)} places"),
        ("unit", "attention probability after weighting, mean over heads and steps"),
        ("layers combined by", maps.rule),
    ]
    return rows + list(_flat(maps.meta))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key} · ")
        elif value is not None and value != "":
            listed = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            yield f"{prefix}{key}".replace("_", " "), listed
