"""One image of a sweep, and the maps of chosen words in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from promptattn.errors import CaptureError
from promptattn.maps import HeatMap, HeatMaps
from promptattn.sweeps.points import Point
from promptattn.sweeps.swept import Key

__all__ = ["Cell", "map_of"]


@dataclass(frozen=True, eq=False)
class Cell:
    """One image of a sweep: the point it belongs to, its seed, and its maps (None where none were recorded)."""

    point: Point
    seed: int
    image: Image.Image
    maps: HeatMaps | None


def map_of(maps: HeatMaps | None, words: Sequence[Key]) -> HeatMap | None:
    """The maps of some words in one, as a phrase's map is the sum of its words'.

    None where there are no words, or one of them has no map: it was cut off, not captured, or not there when maps were
    recorded.
    """
    if maps is None or not words:
        return None
    try:
        found = [maps[key] for key in words]
    except CaptureError:
        return None
    first = found[0]
    layers = {name: np.sum([heat.by_layer[name] for heat in found], axis=0) for name in first.by_layer}
    weights = {heat.weight for heat in found}
    label = " ".join(heat.label for heat in found)
    return HeatMap(label, first.size, layers, weights.pop() if len(weights) == 1 else None, first.shares)
