"""Scenes to pixels: hard-edged silhouettes, so that an object's mask is exactly the pixels that bear its colour."""

from functools import lru_cache
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

from promptattn.shapes.world import ANIMALS, BACKGROUNDS, COLOURS, SIZE, Scene

__all__ = ["render", "silhouette"]

_OVERSAMPLING = 8

Point = tuple[float, float]


def render(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 [64, 64, 3] (RGB) and masks bool [object, 64, 64] of each object's visible pixels.

    Masks are disjoint; every masked pixel has exactly its object's colour and every other pixel the background's.
    """
    image = np.empty((SIZE, SIZE, 3), np.uint8)
    image[:] = BACKGROUNDS[scene.background]
    masks = np.zeros((len(scene.objects), SIZE, SIZE), bool)
    for mask, thing in zip(masks, scene.objects, strict=True):
        top, left = thing.y - thing.size // 2, thing.x - thing.size // 2
        if min(top, left) < 0 or max(top, left) + thing.size > SIZE:
            raise ValueError(f"{thing} does not fit into {SIZE} x {SIZE} pixels")
        mask[top : top + thing.size, left : left + thing.size] = silhouette(thing.shape, thing.size, thing.facing)
    for index in range(len(masks) - 1):  # later objects lie on top
        masks[index] &= ~masks[index + 1 :].any(axis=0)
    for mask, thing in zip(masks, scene.objects, strict=True):
        image[mask] = COLOURS[thing.colour]
    return image, masks


@lru_cache(maxsize=2048)
def silhouette(shape: str, size: int, facing: int = 1) -> np.ndarray:
    """Read-only mask bool [size, size] of a shape; facing 1 looks right, -1 left (animals only)."""
    side = size * _OVERSAMPLING
    canvas = Image.new("L", (side, side), 0)
    _PAINTERS[shape](_Brush(ImageDraw.Draw(canvas), side))
    covered = np.asarray(canvas, np.float32).reshape(size, _OVERSAMPLING, size, _OVERSAMPLING).mean((1, 3)) / 255
    mask = covered > 0.5
    if facing < 0 and shape in ANIMALS:
        mask = mask[:, ::-1]
    mask.flags.writeable = False
    return mask


class _Brush:
    """Draws in a unit square (x right, y down) on a canvas of `side` pixels."""

    def __init__(self, draw: ImageDraw.ImageDraw, side: int) -> None:
        self._draw, self._side = draw, side

    def polygon(self, points: list[Point], fill: int = 255) -> None:
        self._draw.polygon([(x * self._side, y * self._side) for x, y in points], fill=fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: int = 255) -> None:
        s = self._side
        self._draw.ellipse(((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s), fill=fill)

    def stroke(self, points: list[Point], width: float) -> None:
        """A line of constant width with round joints."""
        s = self._side
        self._draw.line([(x * s, y * s) for x, y in points], fill=255, width=round(width * s))
        for x, y in points:
            self.ellipse(x, y, width / 2, width / 2)


def _cat(brush: _Brush) -> None:
    brush.stroke([(0.20, 0.68), (0.09, 0.52), (0.08, 0.32), (0.16, 0.16)], 0.10)  # tail, up
    brush.ellipse(0.42, 0.66, 0.30, 0.18)
    for x in (0.17, 0.31, 0.52, 0.65):
        brush.polygon([(x - 0.055, 0.66), (x + 0.055, 0.66), (x + 0.055, 0.99), (x - 0.055, 0.99)])
    brush.ellipse(0.73, 0.41, 0.235, 0.205)
    brush.polygon([(0.51, 0.38), (0.53, 0.03), (0.73, 0.24)])
    brush.polygon([(0.75, 0.24), (0.94, 0.03), (0.96, 0.40)])
    brush.ellipse(0.81, 0.40, 0.05, 0.06, fill=0)  # eye: the background shows through


def _mouse(brush: _Brush) -> None:
    brush.stroke([(0.22, 0.78), (0.09, 0.74), (0.05, 0.56), (0.09, 0.36)], 0.075)  # tail, thin
    brush.ellipse(0.42, 0.64, 0.31, 0.25)
    brush.polygon([(0.42, 0.40), (0.68, 0.42), (0.99, 0.70), (0.95, 0.79), (0.60, 0.88), (0.42, 0.88)])
    brush.ellipse(0.56, 0.29, 0.215, 0.215)  # one big round ear
    for x in (0.31, 0.62):
        brush.ellipse(x, 0.88, 0.11, 0.07)
    brush.ellipse(0.78, 0.60, 0.05, 0.055, fill=0)


def _star(brush: _Brush) -> None:
    radii = [0.54, 0.22] * 5
    brush.polygon([(0.5 + r * sin(i * pi / 5), 0.55 - r * cos(i * pi / 5)) for i, r in enumerate(radii)])


def _circle(brush: _Brush) -> None:
    brush.ellipse(0.5, 0.5, 0.48, 0.48)


def _square(brush: _Brush) -> None:
    brush.polygon([(0.06, 0.06), (0.94, 0.06), (0.94, 0.94), (0.06, 0.94)])


def _triangle(brush: _Brush) -> None:
    brush.polygon([(0.5, 0.04), (0.98, 0.94), (0.02, 0.94)])


def _heart(brush: _Brush) -> None:
    outline = []
    for i in range(64):
        t = 2 * pi * i / 64
        x = 16 * sin(t) ** 3
        y = 13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)
        outline.append((0.5 + x / 33, 0.46 - y / 31))
    brush.polygon(outline)


def _moon(brush: _Brush) -> None:
    brush.ellipse(0.54, 0.5, 0.46, 0.48)
    brush.ellipse(0.74, 0.46, 0.36, 0.38, fill=0)


_PAINTERS = {
    "cat": _cat,
    "mouse": _mouse,
    "star": _star,
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "heart": _heart,
    "moon": _moon,
}
