"""How one scene answers to a ladder of weights: does more weight always give more, and does it ever give less?"""

from collections.abc import Sequence

import numpy as np

from promptattn.shapes.study.statistics import spearman

__all__ = ["CLEAR", "DEAD_BAND", "is_backwards", "response"]

DEAD_BAND = 0.005
"""Share of the image (20 pixels of 64 x 64) by which an area may fall from one weight to the next unnoticed."""
CLEAR = 0.25
"""A change is clear when it is more than this part of the area at weight 1, and more than the dead band."""


def is_backwards(weight: float, area: float, base: float) -> bool:
    """Whether a weight above 1 gave clearly less than weight 1 does (`base`), or one below 1 clearly more."""
    clear = max(CLEAR * base, DEAD_BAND)
    return area < base - clear if weight > 1 else area > base + clear


def response(weights: Sequence[float], areas: Sequence[float], base: float) -> dict[str, float]:
    """One scene's areas over ascending weights.

        spearman      rank correlation of weight and area
        monotone      1 if the area never falls by more than the dead band from one weight to the next
        turns_back    1 if it falls clearly from one weight to the next

    A scene in which nothing happens is monotone and has a correlation of 0: read the two together.
    """
    falls = -np.diff(areas)
    return {
        "spearman": spearman(weights, areas),
        "monotone": float((falls <= DEAD_BAND).all()),
        "turns_back": float((falls > max(CLEAR * base, DEAD_BAND)).any()),
    }
