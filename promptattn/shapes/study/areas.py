"""Measures on any model: no colour or shape is known, so places are where the word's own map says they are."""

from collections.abc import Mapping

import numpy as np

__all__ = ["AREA", "area", "is_broken", "measure"]

AREA = 0.4
"""A word's area: where its map in the image without weights is at least this part of its maximum."""

_CLIPPED = 0.25


def measure(
    image: np.ndarray, base: np.ndarray, maps: Mapping[str, np.ndarray], base_maps: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """What became of the word's place in `image`, painted from the same latents as `base`, which has no weight.

    Images are uint8 `[height, width, 3]`, maps `[height, width]` of the words "own" and, if known, "other".

        change_in, change             mean absolute difference to `base`, 0 to 255, inside and outside the word's area
        change_other                  the same in the other word's area, less the own one's
        mass, other_mass              mean of the word's map: its part of all attention; not where no map was recorded
        gathered                      the part of the word's mass that lies in its area; likewise
        broken                        see `is_broken`
    """
    difference = np.abs(image.astype(np.float32) - base.astype(np.float32)).mean(-1)
    own = area(base_maps["own"])
    found = {
        "change_in": difference[own].mean() if own.any() else 0.0,
        "change": difference[~own].mean() if not own.all() else 0.0,
    }
    if "other" in base_maps and (other := area(base_maps["other"]) & ~own).any():
        found["change_other"] = difference[other].mean()
    for name, measure_name in (("own", "mass"), ("other", "other_mass")):
        if name in maps:
            found[measure_name] = maps[name].mean()
    if "own" in maps:
        found["gathered"] = maps["own"][own].sum() / max(float(maps["own"].sum()), 1e-12)
    return {**found, "broken": is_broken(image, base)}


def area(heat: np.ndarray) -> np.ndarray:
    """Bool `[height, width]`: where the map is at least 0.4 of its maximum; nowhere for a map of zeros."""
    there: np.ndarray = (heat >= AREA * heat.max()) & (heat > 0)
    return there


def is_broken(image: np.ndarray, base: np.ndarray) -> bool:
    """Whether a quarter more of the pixels than in `base` have a channel at its end (0 or 255): a burnt image."""
    ends = [((picture == 0) | (picture == 255)).any(-1).mean() for picture in (image, base)]
    return bool(ends[0] - ends[1] > _CLIPPED)
