"""What exists in the shapes world: colours, shapes, relations, backgrounds, and scenes drawn from them by a seed.

A scene is data only; `draw.render` turns it into pixels and `captions.caption` into words.
"""

from dataclasses import dataclass

import numpy as np

__all__ = [
    "ANIMALS",
    "BACKGROUNDS",
    "COLOURS",
    "HELD_OUT",
    "RELATIONS",
    "SHAPES",
    "SIZE",
    "SPLITS",
    "Scene",
    "SceneObject",
    "sample_scene",
]

SIZE = 64
"""Height and width of every scene in pixels."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 36, 36),
    "orange": (250, 140, 20),
    "yellow": (246, 222, 40),
    "green": (36, 168, 72),
    "blue": (36, 84, 222),
    "purple": (136, 44, 176),
    "pink": (250, 130, 196),
    "gray": (134, 134, 134),
}

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "black": (16, 16, 16),
    "white": (244, 244, 244),
    "beige": (222, 202, 160),
}

SHAPES = ("cat", "mouse", "star", "circle", "square", "triangle", "heart", "moon")
ANIMALS = ("cat", "mouse")
RELATIONS = ("left", "right", "above", "below", "chases")
SPLITS = ("train", "held_out", "any")

HELD_OUT = frozenset(
    {
        ("red", "star"),
        ("orange", "circle"),
        ("yellow", "mouse"),
        ("green", "heart"),
        ("blue", "cat"),
        ("purple", "square"),
        ("pink", "moon"),
        ("gray", "triangle"),
    }
)
"""Colour x shape pairs that training never shows: every colour and every shape is in exactly one of them."""

_SINGLE_SHARE = 0.25
_CHASE_SHARE = 0.25


@dataclass(frozen=True)
class SceneObject:
    """One object: a shape in one colour, in a square box of `size` pixels centred on (x, y), origin top left.

    `facing` is -1 (left) or 1 (right) and only shows on animals.
    """

    shape: str
    colour: str
    x: int
    y: int
    size: int
    facing: int = 1


@dataclass(frozen=True)
class Scene:
    """One or two objects on a plain background; `relation` is what the first is to the second, None for one object."""

    objects: tuple[SceneObject, ...]
    background: str
    relation: str | None = None


def sample_scene(rng: np.random.Generator, split: str = "train") -> Scene:
    """Draw a scene: "train" has no held-out pair, "held_out" has at least one, "any" makes no difference.

    The two objects of a scene never overlap and never share a colour. Raises ValueError on an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    relation = _sample_relation(rng)
    looks = _sample_looks(rng, relation, split)
    background = _choose(rng, tuple(BACKGROUNDS))
    facings = [1 - 2 * int(rng.integers(2)) for _ in looks]
    if relation == "chases":
        facings[1] = facings[0]
    places = _sample_places(rng, relation, facings[0])
    objects = tuple(
        SceneObject(shape, colour, *place, facing)
        for (colour, shape), place, facing in zip(looks, places, facings, strict=True)
    )
    return Scene(objects, background, relation)


def _choose(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[int(rng.integers(len(names)))]


def _sample_relation(rng: np.random.Generator) -> str | None:
    if rng.random() < _SINGLE_SHARE:
        return None
    if rng.random() < _CHASE_SHARE:
        return "chases"
    return _choose(rng, RELATIONS[:4])


def _sample_looks(rng: np.random.Generator, relation: str | None, split: str) -> list[tuple[str, str]]:
    """(colour, shape) of each object, redrawn until the split allows them."""
    shapes = ANIMALS if relation == "chases" else SHAPES
    while True:
        looks = [(_choose(rng, tuple(COLOURS)), _choose(rng, shapes)) for _ in range(1 if relation is None else 2)]
        if len({colour for colour, _ in looks}) < len(looks):
            continue
        unseen = any(look in HELD_OUT for look in looks)
        if split == "any" or unseen == (split == "held_out"):
            return looks


def _sample_places(rng: np.random.Generator, relation: str | None, facing: int) -> list[tuple[int, int, int]]:
    """(x, y, size) of each object. Two boxes keep 2 pixels between them along the axis of their relation."""
    if relation is None:
        size = int(rng.integers(22, 31))
        x, y = rng.integers(size // 2 + 2, SIZE - size // 2 - 1, size=2)
        return [(int(x), int(y), size)]
    sizes = rng.integers(20, 28, size=2)
    near, far = _split_axis(rng, sizes)
    # Off the axis the two stay close, so that the relation is never a matter of opinion; a chase runs on one line.
    spread = 2 if relation == "chases" else 7
    line = int(rng.integers(22, SIZE - 21))
    off = np.clip(line + rng.integers(-spread, spread + 1, size=2), sizes // 2 + 1, SIZE - sizes // 2 - 2)
    first_is_near = {"left": True, "above": True, "right": False, "below": False, "chases": facing == 1}[relation]
    along = (near, far) if first_is_near else (SIZE - near, SIZE - far)
    vertical = relation in ("above", "below")
    return [
        (int(b), int(a), int(size)) if vertical else (int(a), int(b), int(size))
        for a, b, size in zip(along, off, sizes, strict=True)
    ]


def _split_axis(rng: np.random.Generator, sizes: np.ndarray) -> tuple[int, int]:
    """Centres of two boxes of these sizes along one axis, the first before the second, at least 2 pixels apart."""
    slack = SIZE - int(sizes.sum()) - 6
    before, between = sorted(rng.integers(0, slack + 1, size=2))
    near = 2 + before + sizes[0] // 2
    far = near + (sizes[0] + 1) // 2 + 2 + (between - before) + sizes[1] // 2
    return int(near), int(far)
