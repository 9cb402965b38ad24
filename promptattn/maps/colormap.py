"""Perceptual colour scales: lightness rises steadily from nothing to most, so equal steps of mass look equal.

`ember` is computed in OKLCh (Björn Ottosson, "A perceptual color space for image processing", 2020): lightness is a
straight line, the hue turns from violet over red to yellow, and chroma is what sRGB can show. `cubehelix` is
D. A. Green, "A colour scheme for the display of astronomical intensity images", Bull. Astr. Soc. India 39, 2011, eq. 2.
Both stay readable in gray print and with a colour deficiency.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from promptattn.errors import ConfigError

__all__ = ["COLORMAPS", "colorize", "colormap", "diverging"]

COLORMAPS = ("cubehelix", "ember", "gray")


@lru_cache(maxsize=8)
def colormap(name: str = "ember") -> NDArray[np.uint8]:
    """The colour scale as a table of sRGB colours, uint8 `[256, 3]`, from mass 0 to the most."""
    tables = {"cubehelix": _cubehelix, "ember": _ember, "gray": _gray}
    if name not in tables:
        raise ConfigError(f"There is no colormap {name!r}; choose one of {', '.join(COLORMAPS)}.")
    table = np.round(tables[name]() * 255).astype(np.uint8)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=1)
def diverging() -> NDArray[np.uint8]:
    """The colour scale of differences, sRGB uint8 `[256, 3]`: blue for less, gray for the same, red for more.

    Lightness and chroma, in OKLCh as for `ember`, are the same on both sides, so that equal changes look equal.
    """
    side = np.linspace(-1, 1, 256)
    size = np.abs(side)
    lightness, chroma = 0.42 + 0.36 * size, 0.17 * size**0.6
    hue = np.radians(np.where(side < 0, 265 - 30 * size, 10 + 50 * size))
    return np.round(_to_srgb(_oklch_to_linear(lightness, chroma, hue)) * 255).astype(np.uint8)


def colorize(values: NDArray[np.floating], name: str = "ember") -> NDArray[np.uint8]:
    """`values` `[...]` in [0, 1] (clipped) as sRGB colours, uint8 `[..., 3]`."""
    index = np.round(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)
    return colormap(name)[index]


def _gray() -> NDArray[np.float64]:
    return np.repeat(np.linspace(0, 1, 256)[:, None], 3, axis=1)


def _cubehelix(start: float = 0.5, rotations: float = -1.5, hue: float = 1.0) -> NDArray[np.float64]:
    level = np.linspace(0, 1, 256)
    phi = 2 * np.pi * (start / 3 + rotations * level)
    amplitude = hue * level * (1 - level) / 2
    turn = np.array([[-0.14861, 1.78277], [-0.29227, -0.90649], [1.97294, 0.0]])
    return np.clip(level[:, None] + amplitude[:, None] * (np.stack([np.cos(phi), np.sin(phi)], axis=1) @ turn.T), 0, 1)


def _ember() -> NDArray[np.float64]:
    lightness = np.linspace(0.16, 0.96, 256)
    hue = np.radians(np.linspace(285, 465, 256))
    low, high = np.zeros(256), np.full(256, 0.4)
    for _ in range(40):  # the largest chroma that sRGB can show, by bisection
        chroma = (low + high) / 2
        rgb = _oklch_to_linear(lightness, chroma, hue)
        fits = ((rgb >= 0) & (rgb <= 1)).all(axis=1)
        low, high = np.where(fits, chroma, low), np.where(fits, high, chroma)
    chroma = np.convolve(np.pad(np.minimum(0.94 * low, 0.2), 8, mode="edge"), np.full(17, 1 / 17), mode="valid")
    return _to_srgb(_oklch_to_linear(lightness, chroma, hue))


def _oklch_to_linear(
    lightness: NDArray[np.float64], chroma: NDArray[np.float64], hue: NDArray[np.float64]
) -> NDArray[np.float64]:
    """OKLCh `[n]` each to linear-light sRGB `[n, 3]`, unclipped (Ottosson 2020, matrices of the published version)."""
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    to_lms = np.array(
        [
            [1, 0.3963377774, 0.2158037573],
            [1, -0.1055613458, -0.0638541728],
            [1, -0.0894841775, -1.291485548],
        ]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.707614701],
        ]
    )
    rgb: NDArray[np.float64] = (lab @ to_lms.T) ** 3 @ to_rgb.T
    return rgb


def _to_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light, clipped to what sRGB can show, with sRGB's transfer curve (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
