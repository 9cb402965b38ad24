"""Maps from a layer's grid to another size, so that what was a probability stays one.

Every target place is a convex combination of source places: growing interpolates bilinearly between cell centres (edges
repeat), shrinking averages the area that a target cell covers. Weights sum to 1 in each row, so constants stay
constant, and columns that sum to 1 at each place of the grid sum to 1 at each pixel too. Rows and columns are treated
separately: nothing here assumes a square.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from promptattn.errors import CaptureError

__all__ = ["axis_weights", "combine", "resize"]


@lru_cache(maxsize=64)
def axis_weights(source: int, target: int) -> NDArray[np.float64]:
    """Interpolation weights along one axis, float64 `[target, source]`; each row is non-negative and sums to 1."""
    if source < 1 or target < 1:
        raise CaptureError(f"A map cannot be resized from {source} to {target} places: both must be at least 1.")
    weights = _area_weights(source, target) if target < source else _linear_weights(source, target)
    weights /= weights.sum(axis=1, keepdims=True)
    weights.flags.writeable = False  # shared by the cache
    return weights


def _linear_weights(source: int, target: int) -> NDArray[np.float64]:
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.minimum(np.floor(centre).astype(int), source - 1)
    high = np.minimum(low + 1, source - 1)
    weights = np.zeros((target, source))
    rows = np.arange(target)
    np.add.at(weights, (rows, low), 1 - (centre - low))
    np.add.at(weights, (rows, high), centre - low)
    return weights


def _area_weights(source: int, target: int) -> NDArray[np.float64]:
    edges = np.arange(target + 1) * source / target
    cell = np.arange(source)
    overlap = np.minimum(edges[1:, None], cell + 1) - np.maximum(edges[:-1, None], cell)
    return np.clip(overlap, 0, None)


def resize(array: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """`array` `[..., height, width]` brought to `size` = (height, width); float32, within the range of the input."""
    if array.ndim < 2:
        raise CaptureError(f"A map needs a height and a width to be resized; this one has shape {array.shape}.")
    height, width = size
    rows, columns = axis_weights(array.shape[-2], height), axis_weights(array.shape[-1], width)
    out: NDArray[np.float32] = (rows @ array.astype(np.float64) @ columns.T).astype(np.float32)
    return out


def combine(maps: Iterable[NDArray[np.floating]], size: tuple[int, int]) -> NDArray[np.float32]:
    """Mean over layers at one size: each `[height, width]` map resized to `size`, every layer counting the same.

    Resizing is linear, so maps that share a grid are summed before they are resized: one resize per grid, not layer.
    """
    sums: dict[tuple[int, ...], NDArray[np.float64]] = {}
    count = 0
    for single in maps:
        sums[single.shape] = sums.get(single.shape, np.zeros(single.shape)) + single
        count += 1
    if not count:
        raise CaptureError("No layer was recorded, so there is nothing to combine; capture at least one layer.")
    total = np.zeros(size)
    for summed in sums.values():
        total += resize(summed / count, size)
    return total.astype(np.float32)
