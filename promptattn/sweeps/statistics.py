"""What a map comes to in numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptattn.maps import HeatMap

__all__ = ["mass_of", "share_of", "statistics"]

_SIDE = 256  # of the picture that is measured; the layers' own grids are far below it


def mass_of(heat: HeatMap) -> NDArray[np.float32]:
    """The combined map, float32 `[height, width]`, at image resolution or less: enough to measure, quick to make."""
    height, width = heat.size
    scale = min(1.0, _SIDE / max(height, width))
    return heat.resized((max(1, round(height * scale)), max(1, round(width * scale))))


def share_of(heat: HeatMap) -> float:
    """Mean mass: the part of all the image's attention that went here, in [0, 1]."""
    return float(mass_of(heat).mean(dtype=np.float64))


def statistics(heat: HeatMap) -> dict[str, Any]:
    """A map in numbers, for JSON.

    `share`: mean mass, the part of all the image's attention. `least`, `most`: the smallest and largest mass at a
    pixel. `peak`: where the largest is. `centre`: the mean place by mass above the least, and `spread` the root mean
    square distance from it. `area`: the part of the image with at least the middle mass between least and most. Places
    are (row, column) from the top left, lengths relative to the image's sides, all in [0, 1]; None for a map without
    any mass or any contrast.
    """
    mass = mass_of(heat).astype(np.float64)
    least, most = float(mass.min()), float(mass.max())
    found: dict[str, Any] = {"share": float(mass.mean()), "least": least, "most": most}
    total = (mass - least).sum()
    if not total > 0:
        return found | {"peak": None, "centre": None, "spread": None, "area": None}
    height, width = mass.shape
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    above = (mass - least) / total
    row, column = float((above.sum(axis=1) * rows).sum()), float((above.sum(axis=0) * columns).sum())
    distance = (rows[:, None] - row) ** 2 + (columns[None] - column) ** 2
    y, x = np.unravel_index(int(mass.argmax()), mass.shape)
    return found | {
        "peak": [float(rows[y]), float(columns[x])],
        "centre": [row, column],
        "spread": float(np.sqrt((above * distance).sum())),
        "area": float((mass >= (least + most) / 2).mean()),
    }
