"""How one scene answers to a ladder of weights: does more weight always give more, and does it ever give less?"""

from collections.abc import Sequence

import numpy as np

from promptattn.shapes.study.statistics import spearman

__all__ = ["CLEAR", "DEAD_BANDS", "is_backwards", "response"]

DEAD_BANDS = {"own": 0.005, "likeness": 0.05, "mass": 0.0}
"""By how much each measure of strength may fall from one weight to the next unnoticed: an area by 20 pixels of
64 x 64, an outline's likeness by what a shift by a pixel makes."""
CLEAR = 0.25
"""A change is clear when it is more than this part of the value at weight 1, and more than the dead band."""


def is_backwards(weight: float, value: float, base: float, dead_band: float) -> bool:
    """Whether a weight above 1 gave clearly less than weight 1 does (`base`), or one below 1 clearly more."""
    clear = max(CLEAR * base, dead_band)
    return value < base - clear if weight > 1 else value > base + clear


def response(weights: Sequence[float], values: Sequence[float], base: float, dead_band: float) -> dict[str, float]:
    """One scene's strength over ascending weights.

        spearman      rank correlation of weight and strength
        rises         1 if that is above 0
        monotone      1 if it never falls by more than the dead band from one weight to the next
        turns_back    1 if it falls clearly from one weight to the next

    A scene in which nothing happens is monotone and has a correlation of 0: read the two together.
    """
    falls, correlation = -np.diff(values), spearman(weights, values)
    return {
        "spearman": correlation,
        "rises": float(correlation > 0),
        "monotone": float((falls <= dead_band).all()),
        "turns_back": float((falls > max(CLEAR * base, dead_band)).any()),
    }
