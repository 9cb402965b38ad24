"""One image of a page: its words, its maps over everything that was recorded, and what there is beside them."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import bidirectional

from promptattn.export.subjects import Subject
from promptattn.export.viewer.facts import Missing, facts, missing
from promptattn.export.viewer.fitting import Fitted, fit
from promptattn.export.viewer.packing import in_shorts, text_of
from promptattn.export.viewer.pictures import data_uri, thumbnail
from promptattn.export.viewer.planes import tiers
from promptattn.export.viewer.relations import relations
from promptattn.export.viewer.shown import Shown
from promptattn.maps import HeatMaps
from promptattn.maps.paint import own_scale
from promptattn.prompt.words import fold

__all__ = ["View", "view_of"]

_LOST = {
    "cut": "What is struck out was cut off: it is beyond what the text encoder reads.",
    "left out": "Words in dashed frames have no map: they were not captured in this run.",
}

_BESIDE = {
    "start": "the marker before the first word",
    "end": "the marker behind the last word",
    "padding": "what fills up the text encoder's window behind the prompt",
}


@dataclass(frozen=True)
class View:
    """What the template writes of one image, and what its script is given."""

    name: str
    prompt: str
    written: str | None
    """How a prompt was written that is not one text throughout the run."""
    direction: str
    """`rtl` for a prompt that is read from right to left, or else `ltr`."""
    size: tuple[int, int]
    picture: str | None
    preview: str | None
    chips: list[dict[str, Any]]
    losses: list[str]
    """What there is to say of chips without a map."""
    others: list[dict[str, Any]]
    facts: list[tuple[str, str]]
    missing: list[Missing]
    data: dict[str, Any]
    shown: Shown

    def with_details(self, room: int) -> dict[str, Any]:
        """The data, with as much of single steps, layers and heads as fits into `room` characters."""
        fitted = fit(tiers(self.shown.maps, [self.shown.maps.words[index] for index in self._words]), room)
        return self.data | _details(fitted, self.shown.maps)

    @property
    def has_words(self) -> bool:
        """Whether any word has a map."""
        return bool(self._words)

    @property
    def has_maps(self) -> bool:
        """Whether there is anything to lay over the picture."""
        return bool(self.data["maps"])

    @property
    def _words(self) -> list[int]:
        return [subject.index for subject in self.shown.found if subject.kind == "word"]


def view_of(shown: Shown, samples: int, exact: bool) -> View:
    """The view of one image whose maps have at most `samples` places in all; a small picture is kept `exact`."""
    maps = shown.maps
    kept = [subject for subject in shown.found if subject.kind != "token"]
    grid = _grid(maps, len(kept), samples)
    chips = _chips(maps, kept)
    about = facts(maps)
    return View(
        name=shown.name,
        prompt=maps.prompt.text,
        written=maps.prompt.text if len(maps.prompt.versions) > 1 else None,
        direction=_direction(maps.prompt.text),
        size=maps.image_size,
        picture=data_uri(shown.picture, exact),
        preview=thumbnail(shown.picture),
        chips=chips,
        losses=[told for state, told in _LOST.items() if any(chip["lost"] == state for chip in chips)],
        others=[
            {"text": subject.label, "map": place, "share": subject.share, "what": _what(subject)}
            for place, subject in enumerate(kept)
            if subject.kind in ("marker", "patch")
        ],
        facts=about,
        missing=missing(maps),
        data={
            "name": shown.name,
            "size": maps.image_size,
            "grid": grid,
            "maps": _packed(maps, kept, grid),
            "relations": relations(maps),
            "facts": about,
        },
        shown=shown,
    )


def _direction(text: str) -> str:
    """By the first letter that has a direction, as HTML's `dir=auto`, which looks into no isolated word."""
    first = next((kind for kind in map(bidirectional, text) if kind in ("L", "R", "AL")), "L")
    return "ltr" if first == "L" else "rtl"


def _chips(maps: HeatMaps, kept: Sequence[Subject]) -> list[dict[str, Any]]:
    """Every word of the prompt in order, with its map's place in `kept`, or why it has none."""
    by_word = {subject.index: place for place, subject in enumerate(kept) if subject.kind in ("word", "punctuation")}
    return [
        {
            "text": word.text,
            "weight": word.weight,
            "quiet": word.is_punctuation,
            "map": by_word.get(word.index),
            "share": kept[by_word[word.index]].share if word.index in by_word else None,
            "tokens": [maps.tokens[token].text for token in word.tokens],
            "lost": None if maps.state(word) == "recorded" else maps.state(word),
        }
        for word in maps.words
    ]


def _what(subject: Subject) -> str:
    if subject.kind == "patch":
        return "how much each place of the picture attends to this one, given as (row, column)"
    return _BESIDE[subject.label.strip("[]")]


def _grid(maps: HeatMaps, count: int, samples: int) -> tuple[int, int]:
    """(height, width) of the embedded maps: twice the finest layer's grid, at most 64, less for very long prompts."""
    height, width = maps.image_size
    grids = [*(layer.grid for layer in maps.records), *(patch.grid for patch in maps.patches)]
    finest = max(map(max, grids), default=1)
    long_side = min(2 * finest, 64, max(height, width), int(math.sqrt(samples / max(1, count))))
    scale = max(long_side, 2) / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _packed(maps: HeatMaps, kept: Sequence[Subject], grid: tuple[int, int]) -> list[dict[str, Any]]:
    often = Counter(fold(word.text) for word in maps.words)
    patches = list(dict.fromkeys(patch.patch for patch in maps.patches))
    entries = []
    for subject in kept:
        mass = subject.heat.resized(grid)
        low, top = own_scale(mass)
        entry: dict[str, Any] = {
            "kind": subject.kind,
            "label": subject.label,
            "weight": subject.heat.weight,
            "share": subject.share,
            "low": low,
            "top": top,
            "mass": text_of(in_shorts(mass)),
            "nth": None,
        }
        if subject.kind == "word":
            word = maps.words[subject.index]
            entry["key"] = [fold(word.text), word.occurrence]
            entry["nth"] = word.occurrence + 1 if often[fold(word.text)] > 1 else None
        if subject.kind == "patch":
            entry["place"] = patches[subject.index]
        entries.append(entry)
    return entries


def _details(fitted: Fitted, maps: HeatMaps) -> dict[str, Any]:
    shares = maps.shares if maps.records else {}
    return {
        "planes": fitted.planes,
        "blob": fitted.blob,
        "note": fitted.note,
        "layers": [{"name": layer.name, "grid": layer.grid, "share": shares[layer.name]} for layer in maps.records],
    }
