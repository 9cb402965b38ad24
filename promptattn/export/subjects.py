"""What an export shows of one image: every word, token, marker and patch that has a map, with its numbers."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from promptattn.errors import PromptAttnWarning
from promptattn.maps import HeatMap, HeatMaps
from promptattn.maps.records import ColumnKind
from promptattn.maps.resize import mean_combined

__all__ = ["Subject", "subjects", "warn_of_empty"]

MARKERS: tuple[ColumnKind, ...] = ("start", "end", "padding")


@dataclass(frozen=True, eq=False)
class Subject:
    """One thing with a map; `kind` is `word`, `punctuation`, `token`, `marker` or `patch`, `index` its place there."""

    kind: str
    index: int
    heat: HeatMap

    @property
    def label(self) -> str:
        return self.heat.label

    @property
    def mass(self) -> NDArray[np.float32]:
        """The map at image resolution, made anew each time: a prompt's worth of them would not fit into memory.

        Unlike `HeatMap.array` it is silent when empty, as an export warns once for all.
        """
        return self.heat.resized(self.heat.size)

    @cached_property
    def top(self) -> float:
        """The largest mass at any pixel."""
        return float(self.mass.max())

    @cached_property
    def share(self) -> float:
        """The part of all attention in the image that went here."""
        return mean_combined(self.heat.by_layer, self.heat.size, self.heat.shares)


def subjects(maps: HeatMaps) -> Iterator[Subject]:
    """The subjects of one image's maps; words and tokens that were cut off or not captured have none.

    Nor has anything but patches, where only other relations than `image->text` were recorded.
    """
    for word in maps.words:
        if maps.state(word) == "recorded":
            yield Subject("punctuation" if word.is_punctuation else "word", word.index, maps[word])
    for token in maps.tokens:
        if maps.state(token) == "recorded":
            yield Subject("token", token.index, maps.token(token.index))
    there = {column.kind for column in maps.columns} if maps.records else set()
    kinds: list[ColumnKind] = [kind for kind in MARKERS if kind in there]
    for index, kind in enumerate(kinds):
        yield Subject("marker", index, maps.special(kind))
    for index in range(len({patch.patch for patch in maps.patches})):
        yield Subject("patch", index, maps.patch(index))


def warn_of_empty(found: list[Subject]) -> None:
    """One warning that names the words whose maps are zero everywhere, if there are any."""
    empty = [f"{subject.label!r}" for subject in found if subject.kind == "word" and subject.top <= 0]
    if empty:
        warnings.warn(
            f"Nothing attended to {', '.join(empty[:10])}{' ...' if len(empty) > 10 else ''}: "
            "their maps are zero everywhere (a weight of 0 does that).",
            PromptAttnWarning,
            stacklevel=3,
        )
