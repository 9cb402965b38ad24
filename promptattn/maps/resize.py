"""Maps from a layer's grid to another size, so that what was a probability stays one.

Every target place is a convex combination of source places: growing interpolates bilinearly between cell centres (edges
repeat), shrinking averages the area that a target cell covers. So constants stay constant, and
columns that sum to 1 at each place of the grid sum to 1 at each pixel too. Rows and columns are treated separately:
nothing here assumes a square.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from promptattn.errors import CaptureError

__all__ = ["combine", "mean_combined", "resize"]

Floats = NDArray[np.float64]


def resize(array: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """`array` `[..., height, width]` brought to `size` = (height, width); float32, within the range of the input."""
    if array.ndim < 2 or min(*array.shape[-2:], *size) < 1:
        raise CaptureError(f"A map of shape {list(array.shape)} cannot be resized to {list(size)} places.")
    resized = _along(_along(array.astype(np.float64), -2, size[0]), -1, size[1])
    return resized.astype(np.float32)


def _along(array: Floats, axis: int, target: int) -> Floats:
    source = array.shape[axis]
    if target == source:
        return array
    if target < source:
        averaged: Floats = np.moveaxis(np.moveaxis(array, axis, -1) @ _areas(source, target).T, -1, axis)
        return averaged
    low, high, part = _neighbours(source, target)
    below = np.take(array, low, axis=axis)
    return below + (np.take(array, high, axis=axis) - below) * (part if axis == -1 else part[:, None])


@lru_cache(maxsize=64)
def _neighbours(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """For each target cell, the two source cells round its centre and how far it lies towards the second."""
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.floor(centre).astype(np.intp)
    return low, np.minimum(low + 1, source - 1), centre - low


@lru_cache(maxsize=64)
def _areas(source: int, target: int) -> Floats:
    """`[target, source]`: the part of each target cell that each source cell covers; rows sum to 1."""
    edges = np.arange(target + 1) * source / target
    cell = np.arange(source)
    overlap = np.clip(np.minimum(edges[1:, None], cell + 1) - np.maximum(edges[:-1, None], cell), 0, None)
    areas: Floats = overlap / overlap.sum(axis=1, keepdims=True)
    return areas


def combine(
    maps: Mapping[str, NDArray[np.floating]], size: tuple[int, int], shares: Mapping[str, float] | None = None
) -> NDArray[np.float32]:
    """Layers at one size: the sum of each `[height, width]` map, resized to `size`, times the layer's share.

    Without `shares` every layer counts the same. Resizing is linear, so maps that share a grid are summed before they
    are resized: one resize per grid, not layer.
    """
    if not maps:
        raise CaptureError("No layer was recorded, so there is nothing to combine; capture at least one layer.")
    sums: dict[tuple[int, ...], NDArray[np.float64]] = {}
    for name, single in maps.items():
        share = 1 / len(maps) if shares is None else shares[name]
        if share:
            sums[single.shape] = sums.get(single.shape, np.zeros(single.shape)) + share * single.astype(np.float64)
    total = np.zeros(size)
    for summed in sums.values():
        total += resize(summed, size)
    return total.astype(np.float32)


def mean_combined(
    maps: Mapping[str, NDArray[np.floating]], size: tuple[int, int], shares: Mapping[str, float] | None = None
) -> float:
    """The mean of what `combine` gives, without making it: resizing is linear, and rows and columns are apart."""
    each = 1 / len(maps)
    total = 0.0
    for name, single in maps.items():
        rows, columns = (_counts(source, target) for source, target in zip(single.shape, size, strict=True))
        total += (each if shares is None else shares[name]) * float(rows @ single.astype(np.float64) @ columns)
    return total


@lru_cache(maxsize=64)
def _counts(source: int, target: int) -> Floats:
    """How much each of `source` places counts in the mean over `target` places; together 1."""
    counts: Floats = _along(np.eye(source), 0, target).mean(axis=0)
    return counts
