"""How well a map agrees with an object's mask: overlap, ranking, pointing and leakage. NumPy only.

A map is a real array [height, width], larger where the word was looked for more; a mask is bool [height, width]. Both
have the same shape: bringing a map to the image's resolution is the caller's business. All functions raise ValueError
on shapes that differ, on maps with values that are not finite, and on masks without a single pixel.
"""

import numpy as np

__all__ = ["average_precision", "best_iou", "iou", "iou_curve", "leakage", "outside", "pointing_hit"]


def iou(heat: np.ndarray, mask: np.ndarray, threshold: float = 0.4) -> float:
    """Intersection over union of the mask and the pixels at or above `threshold` times the map's maximum, in [0, 1].

    A map without a positive value marks nothing: 0.
    """
    heat, mask = _checked(heat, mask)
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is a fraction of the map's maximum, in (0, 1], not {threshold}")
    if heat.max() <= 0:
        return 0.0
    marked = heat >= threshold * heat.max()
    return float((marked & mask).sum() / (marked | mask).sum())


def iou_curve(heat: np.ndarray, mask: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Intersection over union of the mask and the pixels at or above each of `levels`, float64 `[level]` in [0, 1].

    A level is a share of the way from the map's least value (0) to its largest (1), so that a floor which the map has
    everywhere does not count: a word has some mass at every place. A constant map marks every pixel at every level.
    """
    heat, mask = _checked(heat, mask)
    low, top = heat.min(), heat.max()
    limits = low + np.asarray(levels, np.float64) * (top - low)
    marked = heat.size - np.searchsorted(np.sort(heat, axis=None), limits)
    hits = mask.sum() - np.searchsorted(np.sort(heat[mask]), limits)
    curve: np.ndarray = hits / (marked + mask.sum() - hits)
    return curve


def best_iou(heat: np.ndarray, mask: np.ndarray) -> float:
    """The largest intersection over union that any threshold reaches, in (0, 1]."""
    hits, marked = _cumulated(*_checked(heat, mask))
    return float((hits / (marked + mask.sum() - hits)).max())


def average_precision(heat: np.ndarray, mask: np.ndarray) -> float:
    """Area under the precision-recall curve of ranking pixels by the map, in (0, 1].

    Sum over thresholds of precision times the gain in recall, without interpolation; equal values rank together. A map
    that says nothing scores the mask's share of the image.
    """
    hits, marked = _cumulated(*_checked(heat, mask))
    recall = np.concatenate([[0.0], hits / mask.sum()])
    return float((np.diff(recall) * hits / marked).sum())


def pointing_hit(heat: np.ndarray, mask: np.ndarray) -> float:
    """1 if the map's maximum lies in the mask, else 0 (the pointing game, Zhang 2016).

    Where several pixels share the maximum: the share of them in the mask, so that a constant map scores by chance.
    """
    heat, mask = _checked(heat, mask)
    return float(mask[heat == heat.max()].mean())


def leakage(heat: np.ndarray, own: np.ndarray, other: np.ndarray) -> float:
    """Mass of the map in the other object's mask, relative to the mass in both; in [0, 1] for maps without negatives.

    0: all in its own object; 0.5 with equal areas: no preference; nan where neither holds any mass.
    """
    heat, own = _checked(heat, own)
    _, other = _checked(heat, other)
    inside, outside = heat[own].sum(), heat[other].sum()
    return float(outside / (inside + outside)) if inside + outside != 0 else float("nan")


def outside(heat: np.ndarray, mask: np.ndarray, margin: int = 1) -> float:
    """Part of the map's mass that lies outside the mask grown by `margin` pixels up, down, left and right.

    In [0, 1] for maps without negatives. A constant map has the part of the image outside as its score; nan without any
    mass.
    """
    heat, mask = _checked(heat, mask)
    total = heat.sum()
    return float(heat[~_grown(mask, margin)].sum() / total) if total != 0 else float("nan")


def _grown(mask: np.ndarray, margin: int) -> np.ndarray:
    for _ in range(margin):
        padded = np.pad(mask, 1)
        mask = mask | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return mask


def _checked(heat: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    heat, mask = np.asarray(heat, np.float64), np.asarray(mask)
    if heat.shape != mask.shape or heat.ndim != 2:
        raise ValueError(
            f"map {list(heat.shape)} and mask {list(mask.shape)} must both be [height, width] of the same size: "
            "resize the map to the image first"
        )
    if mask.dtype != np.bool_:
        raise ValueError(f"mask must be bool, not {mask.dtype}")
    if not mask.any():
        raise ValueError("mask marks no pixel: there is nothing to compare the map with")
    if not np.isfinite(heat).all():
        raise ValueError("map has values that are not finite")
    return heat, mask


def _cumulated(heat: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the mask, and pixels at all, at or above each distinct value of the map, highest first."""
    order = np.argsort(-heat, axis=None, kind="stable")
    ranked = heat.ravel()[order]
    last_of_value = np.append(np.diff(ranked) != 0, True)
    hits = np.cumsum(mask.ravel()[order])[last_of_value]
    return hits.astype(np.float64), np.flatnonzero(last_of_value) + 1.0
