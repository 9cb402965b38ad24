"""Parts of a run that a viewer can show by themselves: single steps, layers and heads.

A plane is the maps of all words in one such part. Planes come in tiers, the most telling first, so that a page that
must stay small can leave out the last ones.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import escape

import numpy as np
from numpy.typing import NDArray

from promptattn.errors import PromptAttnWarning
from promptattn.maps import HeatMap, HeatMaps
from promptattn.maps.resize import mean_combined, resize
from promptattn.prompt import Word

__all__ = ["Plane", "Tier", "tiers"]

Masses = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Plane:
    """The words' maps in one step, layer or head; None stands for all of them together.

    `looking` turns it round: where the words themselves look, in joint attention.
    """

    heats: Sequence[HeatMap]
    layer: str | None = None
    step: int | None = None
    head: int | None = None
    looking: bool = False

    def grid(self, longest: int) -> tuple[int, int]:
        """(height, width) of the finest layer that it is made of, but with no side above `longest`."""
        maps = self.heats[0].by_layer
        height, width = max((maps[name].shape for name in ([self.layer] if self.layer else maps)), key=max)
        scale = min(1.0, longest / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def masses(self, longest: int) -> Masses:
        """The maps, float32 `[word, height, width]`, at `grid(longest)`."""
        grid = self.grid(longest)
        if self.layer is None:
            return np.stack([heat.resized(grid) for heat in self.heats])
        return resize(np.stack([heat.by_layer[self.layer] for heat in self.heats]), grid)

    @cached_property
    def shares(self) -> Masses:
        """For each word the mean mass over the image, float32 `[word]`: what `HeatMap.share` is for these maps."""
        means = [
            mean_combined(heat.by_layer, heat.size, heat.shares)
            if self.layer is None
            else mean_combined({self.layer: heat.by_layer[self.layer]}, heat.size)
            for heat in self.heats
        ]
        return np.array(means, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Tier:
    """Planes that are kept or left out together, and what they are called where they are left out."""

    name: str
    planes: Sequence[Plane]


def tiers(maps: HeatMaps, words: Sequence[Word]) -> list[Tier]:
    """The tiers of one image's maps, for `words` that all have maps; empty ones are not among them."""
    if not words or not maps.records:
        return []
    # What is said of a word that was cut in part was said of the run's maps already.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptAttnWarning)
        whole = [maps[word] for word in words]
        by_step = {number: _of(maps.step(number), words) for number in _steps(maps)}
        by_head = {index: _of(maps.head(index), words) for index in _heads(maps)}
        looking = [Plane(_of(maps.looking(), words), looking=True)] if maps.sources else []
        apart = {name: maps.combine("mean").layer(escape(name)) for name in maps.layers if len(maps.layers) > 1}
        layer_heads = [Plane(_of(one.head(i), words), name, head=i) for name, one in apart.items() for i in _heads(one)]
        layer_steps = [Plane(_of(one.step(n), words), name, step=n) for name, one in apart.items() for n in _steps(one)]
    found = [
        Tier("single steps", [Plane(heats, step=number) for number, heats in by_step.items()]),
        Tier("single layers", [Plane(whole, layer=name) for name in apart]),
        Tier("where words look", looking),
        Tier("single heads", [Plane(heats, head=index) for index, heats in by_head.items()]),
        Tier("each layer's heads", layer_heads),
        Tier("each layer's steps", layer_steps),
    ]
    return [tier for tier in found if tier.planes]


def _of(maps: HeatMaps, words: Sequence[Word]) -> list[HeatMap]:
    return [maps[word] for word in words]


def _steps(maps: HeatMaps) -> list[int]:
    """The steps that every layer kept apart."""
    return sorted(set.intersection(*(set(record.step_numbers) for record in maps.records)))


def _heads(maps: HeatMaps) -> list[int]:
    """The heads that every layer has and kept apart; layers may have different numbers of them."""
    return sorted(set.intersection(*(set(record.head_numbers) for record in maps.records)))
