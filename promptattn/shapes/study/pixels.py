"""Measures in the shapes world, from pixels alone: every pixel has a colour, and every colour an object.

The two objects of a scene never share a colour, so the pixels of one colour are one object's. A pixel belongs to the
nearest colour of the world, backgrounds included; rims one or two pixels wide, where two colours blend into a third,
are taken off (an opening with a 3 x 3 square).
"""

import numpy as np

from promptattn.shapes.judge import look
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
    before = colour_mask(base, thing.colour)
    difference = np.abs(image.astype(np.float32) - base.astype(np.float32)).mean(-1)
    inside, elsewhere = own | before, ~_dilate(own | before)
    return {
        "own": own.mean(),
        "other": other.mean(),
        "own_present": own.mean() > PRESENT,
        "other_present": other.mean() > PRESENT,
        "shape": any(seen.colour == thing.colour and seen.shape == thing.shape for seen in look(image).objects),
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


def _distance(image: np.ndarray, place: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float(np.linalg.norm(image[place].astype(np.float32) - np.array(colour, np.float32), axis=-1).mean())


def _dilate(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    grown: np.ndarray = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return grown


def _erode(mask: np.ndarray) -> np.ndarray:
    return ~_dilate(~mask)
