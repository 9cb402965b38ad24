"""From masses to pixels: the scale of a picture, gray values, and colour laid over an image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from promptattn.errors import ConfigError
from promptattn.maps.colormap import colorize

__all__ = ["as_rgb", "blend", "gray16", "level_of", "own_scale"]

FLATTEST = 0.75


def own_scale(mass: NDArray[np.floating]) -> tuple[float, float]:
    """The masses (low, top) at the two ends of a map's own colour scale: its least and its largest mass.

    A model gives most words some mass everywhere, and that floor would hide the image. But `low` is at most 3/4 of
    `top`, so that a map without contrast looks flat instead of showing magnified noise.
    """
    top = float(mass.max(initial=0))
    return min(float(mass.min(initial=top)), FLATTEST * top), top


def level_of(mass: NDArray[np.floating], low: float = 0.0, top: float | None = None) -> NDArray[np.float32]:
    """Where `mass` lies from `low` (0) to `top` (1; default: its largest value), clipped; float32. Zeros stay zeros."""
    most = float(mass.max(initial=0)) if top is None else top
    scaled = (mass - low) / (most - low) if most > low else np.zeros(mass.shape)
    return np.clip(scaled, 0, 1).astype(np.float32)


def gray16(mass: NDArray[np.floating]) -> Image.Image:
    """`mass` `[height, width]` as a 16-bit gray picture: 0 is no mass, 65535 its largest value."""
    return Image.fromarray(np.round(level_of(mass) * np.float32(65535)).astype(np.uint16))


def blend(
    base: Image.Image, level: NDArray[np.floating], *, alpha: float = 0.9, colormap: str = "ember"
) -> Image.Image:
    """Lay `level` `[height, width]` in [0, 1] over the RGB image `base`.

    Opacity is `alpha` times the level, so that a place at the low end of the scale shows the image untouched.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha is an opacity between 0 and 1; {alpha} is not.")
    pixels = np.asarray(base, dtype=np.float32)
    opacity = (alpha * np.clip(level, 0, 1))[..., None]
    mixed = pixels * (1 - opacity) + colorize(level, colormap) * opacity
    return Image.fromarray(np.round(mixed).astype(np.uint8))


def as_rgb(image: Any) -> Image.Image:
    """A Pillow image or a uint8 array `[height, width, 3]` as a Pillow RGB image."""
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3:
        raise ConfigError(
            "The image must be a Pillow image or a uint8 array [height, width, 3]; "
            f"this is {type(image).__name__} of {array.dtype}, shape {array.shape}."
        )
    return Image.fromarray(array)
