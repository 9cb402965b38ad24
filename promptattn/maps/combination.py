"""How the maps of many layers become one: rules that need no layer's name, so that they hold for any model.

Every rule gives each layer a share of the combined map, the same for all words, and the shares sum to 1. So a combined
map is still a probability mass, and where a layer's columns sum to 1 at each place, those of the whole do.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from promptattn.errors import CaptureError, ConfigError

__all__ = ["RULES", "Rule", "coherence", "layer_shares"]

Rule = Literal["coherence", "finest", "mean"]
"""`coherence`, the default: a layer counts by how much of its maps is shape and not noise, see :func:`coherence`.
`finest`: only the layers of the finest grid, those with the most places, count, and each the same.
`mean`: every layer counts the same."""

RULES: tuple[Rule, ...] = get_args(Rule)

_SMOOTHEST = 0.99
_FLAT = 1e-12  # variance relative to the mean square; float32 rounding of equal masses stays below


def layer_shares(rule: Rule, masses: Mapping[str, NDArray[np.floating]]) -> dict[str, float]:
    """The share of each layer in the combined map, by name; at least 0, together 1.

    Args:
        masses: each layer's mass in one image, `[height, width, column]`, over all columns that were recorded.

    Raises:
        ConfigError: when there is no such rule.
        CaptureError: when there is no layer.
    """
    if rule not in RULES:
        raise ConfigError(f"There is no rule {rule!r} to combine layers by; choose one of {', '.join(RULES)}.")
    if not masses:
        raise CaptureError("No layer was recorded, so there is nothing to combine; capture at least one layer.")
    if rule == "coherence":
        counts = {name: _signal_to_noise(coherence(mass)) for name, mass in masses.items()}
    else:
        most = max(mass.shape[0] * mass.shape[1] for mass in masses.values())
        counts = {n: float(rule == "mean" or m.shape[0] * m.shape[1] == most) for n, m in masses.items()}
    total = sum(counts.values())
    # Where no layer has any shape, none is better than another.
    return {name: count / total if total > 0 else 1 / len(counts) for name, count in counts.items()}


def coherence(mass: NDArray[np.floating]) -> float:
    """How alike neighbouring places are, in [-1, 1]: Moran's I over all columns of `mass` `[height, width, column]`.

    `I = mean over pairs of neighbours of sum_c z_c z'_c / mean over places of sum_c z_c²`, `z` being what a place's
    mass is above the column's mean, and neighbours those side by side or one above the other (Moran 1950). 1 for maps
    that change slowly, 0 for noise, -1 for a chequerboard; 0 for maps that are the same everywhere.
    """
    mass = mass.astype(np.float64)
    mass /= np.abs(mass).max() or 1.0  # squares of very small masses would underflow
    z = mass - mass.mean(axis=(0, 1))
    variance = float((z**2).sum(axis=-1).mean())
    products = [(z[1:] * z[:-1]).sum(axis=-1), (z[:, 1:] * z[:, :-1]).sum(axis=-1)]
    pairs = np.concatenate([part.ravel() for part in products])
    if variance <= _FLAT * float((mass**2).sum(axis=-1).mean()) or not pairs.size:
        return 0.0
    return float(np.clip(pairs.mean() / variance, -1, 1))


def _signal_to_noise(correlation: float) -> float:
    """Of maps that are a slowly changing signal plus noise of each place: neighbours share the signal only, so their
    correlation is `signal / (signal + noise)`."""
    correlation = min(max(correlation, 0.0), _SMOOTHEST)
    return correlation / (1 - correlation)
