"""Measures in the shapes world, from pixels alone: by colour, and by outline.

The two objects of a scene never share a colour, so the pixels of one colour are one object's. A pixel belongs to the
nearest colour of the world, backgrounds included; rims one or two pixels wide, where two colours blend into a third,
are taken off (an opening with a 3 x 3 square). What a noun does is not seen by colour: an object that takes all the
attention for its shape may lose its colour. So outlines are compared as well, whatever their colour.
"""

from functools import lru_cache

import numpy as np
from PIL import Image

from promptattn.shapes.draw import silhouette
from promptattn.shapes.judge import View, look
from promptattn.shapes.study.cases import Case
from promptattn.shapes.world import BACKGROUNDS, COLOURS

__all__ = ["PRESENT", "colour_mask", "is_broken", "measure"]

PRESENT = 0.01
"""An object is there when its colour covers more than this share of the image."""

_PALETTE = np.array([*COLOURS.values(), *BACKGROUNDS.values()], np.float32)
_NAMES = [*COLOURS, *BACKGROUNDS]

_GROUND = 45.0  # RGB distance from the background within which a pixel is background, as for `judge.look`
_LEAST_GROUND = 0.5  # two objects of the largest size leave three quarters of the image
_MOST_PARTS = 5
_PART = 6  # pixels


def measure(case: Case, image: np.ndarray, base: np.ndarray) -> dict[str, float]:
    """What became of the case's objects in `image`, painted from the same latents as `base`, which has no weight.

    Both are uint8 `[height, width, 3]`. Areas are shares of the image; truths are 0 or 1.

        own, other                    area of the own and the other object's colour
        own_present, other_present    whether that is more than 1 %
        likeness, other_likeness      how much the outline of what stands where the own object is in `base`, or the
                                      other, is like its shape: intersection over union, 0 where nothing stands
        shape                         whether an object of the own colour has the own shape, by `look`
        distance                      mean RGB distance to the own colour of the pixels that have it in `base`; nan
                                      where the own object is not there
        moved                         mean absolute difference to `base`, 0 to 255, in the own object of either image
        change                        the same outside the own object of both
        broken                        see `is_broken`
    """
    assert case.scene is not None
    thing, second = case.scene.objects[case.subject], case.scene.objects[1 - case.subject]
    own, other = colour_mask(image, thing.colour), colour_mask(image, second.colour)
    before, view = colour_mask(base, thing.colour), look(image)
    difference = np.abs(image.astype(np.float32) - base.astype(np.float32)).mean(-1)
    inside, elsewhere = own | before, ~_dilate(own | before)
    return {
        "own": own.mean(),
        "other": other.mean(),
        "own_present": own.mean() > PRESENT,
        "other_present": other.mean() > PRESENT,
        "likeness": _likeness(view, before, thing.shape),
        "other_likeness": _likeness(view, colour_mask(base, second.colour), second.shape),
        "shape": any(seen.colour == thing.colour and seen.shape == thing.shape for seen in view.objects),
        "distance": _distance(image, before, COLOURS[thing.colour]) if before.mean() > PRESENT else float("nan"),
        "moved": difference[inside].mean() if inside.any() else 0.0,
        "change": difference[elsewhere].mean() if elsewhere.any() else 0.0,
        "broken": is_broken(case, image),
    }


def is_broken(case: Case, image: np.ndarray) -> bool:
    """Whether the image is no longer a picture of things on the background that the caption names: less than half of
    it is background (within an RGB distance of 45), or what is not falls into more than five parts (8-connected, of at
    least 6 pixels), or neither of the two objects is there."""
    assert case.scene is not None
    ground = np.array(BACKGROUNDS[case.scene.background], np.float32)
    plain = np.linalg.norm(image.astype(np.float32) - ground, axis=-1) <= _GROUND
    gone = all(colour_mask(image, thing.colour).mean() <= PRESENT for thing in case.scene.objects)
    return bool(plain.mean() < _LEAST_GROUND or gone or _parts(~plain) > _MOST_PARTS)


def _parts(mask: np.ndarray) -> int:
    """The number of 8-connected parts of at least `_PART` pixels."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    count = 0
    while left:
        stack, size = [left.pop()], 0
        while stack:
            y, x = stack.pop()
            size += 1
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            stack.extend(near)
        count += size >= _PART
    return count


def colour_mask(image: np.ndarray, colour: str) -> np.ndarray:
    """Bool `[height, width]`: the pixels of this colour, without rims."""
    distance = np.linalg.norm(image[:, :, None].astype(np.float32) - _PALETTE, axis=-1)
    return _dilate(_erode(distance.argmin(-1) == _NAMES.index(colour)))


def _likeness(view: View, place: np.ndarray, shape: str) -> float:
    """Of the object that overlaps most with `place`."""
    overlaps = [(int((seen.mask & place).sum()), index) for index, seen in enumerate(view.objects)]
    most, index = max(overlaps, default=(0, 0))
    if not most:
        return 0.0
    outline = _framed(view.objects[index].mask)
    return float(max((outline & each).sum() / (outline | each).sum() for each in _outlines(shape)))


@lru_cache(maxsize=16)
def _outlines(shape: str) -> tuple[np.ndarray, ...]:
    """The shape as drawn, facing either way."""
    return tuple(_framed(silhouette(shape, 28, way) > 0.5) for way in (1, -1))


def _framed(mask: np.ndarray) -> np.ndarray:
    """The mask's bounding box with its longer side scaled to 32 pixels, centred: bool [32, 32]."""
    ys, xs = np.nonzero(mask)
    height, width = np.ptp(ys) + 1, np.ptp(xs) + 1
    side = max(height, width)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = mask[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    framed: np.ndarray = np.asarray(Image.fromarray(255 * square).resize((32, 32), Image.Resampling.BILINEAR)) > 127
    return framed


def _distance(image: np.ndarray, place: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float(np.linalg.norm(image[place].astype(np.float32) - np.array(colour, np.float32), axis=-1).mean())


def _dilate(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    grown: np.ndarray = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return grown


def _erode(mask: np.ndarray) -> np.ndarray:
    return ~_dilate(~mask)
