"""The HTML viewer: one file that needs no network and no server, with the maps inside.

Each map travels as 16-bit integers relative to its own largest mass, at a resolution just above the layers' grids; the
page interpolates between them. Text goes through Jinja's escaping, and the data through its script-safe JSON.
"""

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from promptattn import __version__
from promptattn.export.subjects import Subject
from promptattn.maps import HeatMaps
from promptattn.maps.colormap import colormap
from promptattn.maps.paint import level_of, own_scale
from promptattn.maps.records import TextAttention
from promptattn.prompt.words import fold

__all__ = ["render_viewer", "write_viewer"]

MOST_SAMPLES = 1_500_000  # of all maps of one image together: at most 4 MB of text
MOST_RELATED = 40  # words per side of the table between words
MOST_TABLES = 8

_LOST = {"cut": "cut off: beyond what the text encoder reads", "left out": "not captured in this run"}


def write_viewer(
    maps: HeatMaps, shown: Sequence[Sequence[Subject]], images: Sequence[Image.Image | None], file: Path, colors: str
) -> None:
    """Write the viewer of the maps (`shown[i]` and `images[i]` for image i) to `file`."""
    # A lone surrogate has no UTF-8; a question mark stands for it.
    file.write_bytes(render_viewer(maps, shown, images, colors).encode("utf-8", "replace"))


def render_viewer(
    maps: HeatMaps, shown: Sequence[Sequence[Subject]], images: Sequence[Image.Image | None], colors: str = "ember"
) -> str:
    """The viewer's HTML."""
    views = [_view(single, found) for single, found in zip(maps.images, shown, strict=True)]
    table = colormap(colors)
    stops = [f"rgb({', '.join(map(str, table[i]))})" for i in range(0, 256, 15)]
    return _template().render(
        title=maps.prompts[0].text if len(maps.prompts) == 1 else f"{len(maps.prompts)} prompts",
        version=__version__,
        views=views,
        sources=[_source(image) for image in images],
        previews=[_source(image and _small(image)) for image in images],
        relations=[_relations(single, colors) for single in maps.images],
        details=_details(maps),
        gradient=", ".join(stops),
        data={
            "colors": _base64(table.tobytes()),
            "views": [{key: view[key] for key in ("grid", "size", "maps")} for view in views],
        },
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    loader = PackageLoader("promptattn.export", ".")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = _percent
    return environment.get_template("viewer.html.j2")


def _percent(mass: float) -> str:
    """As the page's script writes it: two or three digits that matter."""
    digits = 0 if mass >= 0.0995 else 1 if mass >= 0.00095 or mass == 0 else 2
    return f"{100 * mass:.{digits}f}\u00a0%"


def _view(maps: HeatMaps, found: Sequence[Subject]) -> dict[str, Any]:
    kept = [subject for subject in found if subject.kind != "token"]
    grid = _grid(maps, len(kept))
    often = Counter(fold(word.text) for word in maps.words)
    by_word = {subject.index: place for place, subject in enumerate(kept) if subject.kind in ("word", "punctuation")}
    return {
        "prompt": maps.prompt.text,
        "size": maps.image_size,
        "grid": grid,
        "maps": [_packed(subject, grid) | {"nth": _nth(subject, maps, often)} for subject in kept],
        "chips": [
            {
                "text": word.text,
                "weight": word.weight,
                "quiet": word.is_punctuation,
                "map": by_word.get(word.index),
                "share": kept[by_word[word.index]].share if word.index in by_word else None,
                "tokens": [maps.tokens[token].text for token in word.tokens],
                "lost": _LOST.get(maps.state(word)),
                "cut": maps.state(word) == "cut",
            }
            for word in maps.words
        ],
        "others": [
            {"text": subject.label, "map": place, "share": subject.share, "kind": subject.kind}
            for place, subject in enumerate(kept)
            if subject.kind in ("marker", "patch")
        ],
    }


def _nth(subject: Subject, maps: HeatMaps, often: Counter[str]) -> int | None:
    """Which one of several equal words it is, counted from 1 for reading; None where there is only one."""
    if subject.kind != "word":
        return None
    word = maps.words[subject.index]
    return word.occurrence + 1 if often[fold(word.text)] > 1 else None


def _grid(maps: HeatMaps, count: int) -> tuple[int, int]:
    """(height, width) of the embedded maps: twice the finest layer's grid, at most 64, less for very long prompts."""
    height, width = maps.image_size
    finest = max((max(layer.grid) for layer in maps.records), default=1)
    long_side = min(2 * finest, 64, max(height, width), int(math.sqrt(MOST_SAMPLES / max(1, count))))
    scale = max(long_side, 2) / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _packed(subject: Subject, grid: tuple[int, int]) -> dict[str, Any]:
    mass = subject.heat.resized(grid)
    low, top = own_scale(mass)
    return {
        "kind": subject.kind,
        "label": subject.label,
        "weight": subject.heat.weight,
        "share": subject.share,
        "low": low,
        "top": top,
        "mass": _base64(np.round(level_of(mass) * np.float32(65535)).astype("<u2").tobytes()),
    }


def _relations(maps: HeatMaps, colors: str) -> list[dict[str, Any]]:
    return [_relation(text, maps, colors) for text in maps.text_attention[:MOST_TABLES]]


def _relation(text: TextAttention, maps: HeatMaps, colors: str) -> dict[str, Any]:
    """The table between words: for each cell the mass, its colour, and whether dark text is readable on it."""
    read = text.reads(maps.words)
    words = read[:MOST_RELATED]
    matrix = text.word_matrix(words)
    table, level = colormap(colors), level_of(matrix)
    rows = [
        [
            {
                "mass": float(matrix[i, j]),
                "color": f"rgb({', '.join(map(str, table[round(float(level[i, j]) * 255)]))})",
                "dark": bool(level[i, j] > 0.62),
            }
            for j in range(len(words))
        ]
        for i in range(len(words))
    ]
    return {"encoder": text.encoder, "words": [word.text for word in words], "rows": rows, "all": len(read)}


def _details(maps: HeatMaps) -> list[tuple[str, str]]:
    grids = sorted({layer.grid for layer in maps.records}, reverse=True)
    height, width = maps.image_size
    rows = [
        ("image", f"{width} x {height} pixels"),
        ("layers", f"{len(maps.records)} at {', '.join(f'{w} x {h}' for h, w in grids)} places"),
        ("unit", "attention probability after weighting, mean over heads and steps"),
        ("layers combined by", maps.rule),
    ]
    return rows + list(_flat(maps.meta))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Sequence[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key} · ")
        elif value is not None and value != "":
            listed = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            rows.append((f"{prefix}{key}".replace("_", " "), listed))
    return rows


def _source(image: Image.Image | None) -> str | None:
    """The image as a data URI: PNG, or high-quality WebP where that would be large."""
    if image is None:
        return None
    small = max(image.size) <= 512
    buffer = BytesIO()
    image.save(buffer, **({"format": "PNG"} if small else {"format": "WEBP", "quality": 92}))
    return f"data:image/{'png' if small else 'webp'};base64,{_base64(buffer.getvalue())}"


def _small(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((160, 160))
    return small


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
