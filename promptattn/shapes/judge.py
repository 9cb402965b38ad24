"""What an image shows, from its pixels alone: objects with colour, shape, place and facing, and the background.

Made for 64 x 64 scenes of this world, drawn or generated; it knows nothing of the prompt until `compare`.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
from PIL import Image

from promptattn.shapes.draw import silhouette
from promptattn.shapes.world import ANIMALS, BACKGROUNDS, COLOURS, SHAPES, Scene, SceneObject

__all__ = ["Seen", "Verdict", "View", "compare", "holds", "look"]

_FOREGROUND = 45.0  # RGB distance from the background; the closest pair, pink on beige, is 85 apart
_SMALLEST = 40  # pixels; the thinnest moon covers over 100
_CANVAS = 32  # side of the square in which outlines are compared


@dataclass(frozen=True, eq=False)
class Seen:
    """One object found: its mask is bool [height, width], `fit` the soft IoU with the best template (0 to 1)."""

    shape: str
    colour: str
    x: float
    y: float
    facing: int
    fit: float
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class View:
    """Everything found in an image, largest object first."""

    background: str
    objects: tuple[Seen, ...]


@dataclass(frozen=True)
class Verdict:
    """Which of a scene's claims an image bears out; `found[i]` was taken for the scene's i-th object, if any."""

    count: bool
    colour: bool
    shape: bool
    relation: bool
    background: bool
    found: tuple[Seen | None, ...]


def look(image: np.ndarray) -> View:
    """Find background and objects in a uint8 [height, width, 3] image. Raises ValueError on another shape or dtype."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be uint8 [height, width, 3], not {image.dtype} {list(image.shape)}")
    pixels = image.astype(np.float32)
    border = np.concatenate([pixels[:2].reshape(-1, 3), pixels[-2:].reshape(-1, 3), *pixels[:, [0, 1, -2, -1]]])
    ground = np.median(border, axis=0)
    foreground = np.linalg.norm(pixels - ground, axis=-1) > _FOREGROUND
    parts = [part for blob in _components(foreground) for part in _split_by_colour(pixels, blob)]
    seen = [_describe(pixels, ground, part) for part in parts]
    return View(_nearest(ground[None], BACKGROUNDS)[0], tuple(sorted(seen, key=lambda s: -s.mask.sum())))


def compare(scene: Scene, view: View) -> Verdict:
    """Judge a view against a scene's claims.

    The scene's objects are matched to the seen ones so that colours, then shapes, agree best; places play no part in
    the matching. With fewer objects than the scene has, colour, shape and relation are wrong.
    """
    wanted = scene.objects
    slots: list[Seen | None] = [*view.objects, *([None] * (len(wanted) - len(view.objects)))]
    found = max(permutations(slots, len(wanted)), key=lambda seen: _agreement(seen, wanted))
    complete = [seen for seen in found if seen is not None]
    whole = len(complete) == len(wanted)
    pairs = list(zip(complete, wanted, strict=True)) if whole else []
    return Verdict(
        count=len(view.objects) == len(wanted),
        colour=whole and all(seen.colour == thing.colour for seen, thing in pairs),
        shape=whole and all(seen.shape == thing.shape for seen, thing in pairs),
        relation=whole and (scene.relation is None or holds(scene.relation, *complete)),
        background=view.background == scene.background,
        found=found,
    )


def _agreement(seen: tuple[Seen | None, ...], wanted: tuple[SceneObject, ...]) -> int:
    pairs = [(s, w) for s, w in zip(seen, wanted, strict=True) if s is not None]
    return sum(2 * (s.colour == w.colour) + (s.shape == w.shape) for s, w in pairs)


def holds(relation: str, first: Seen, second: Seen) -> bool:
    """Whether `first` is in this relation to `second`.

    The larger of the two offsets between centroids decides left, right, above, below. Chasing is: side by side, facing
    the same way, the chaser behind.
    """
    dx, dy = second.x - first.x, second.y - first.y
    beside = abs(dx) > abs(dy)
    if relation == "chases":
        return beside and first.facing == second.facing and dx * first.facing > 0
    return {
        "left": beside and dx > 0,
        "right": beside and dx < 0,
        "above": not beside and dy > 0,
        "below": not beside and dy < 0,
    }[relation]


def _describe(pixels: np.ndarray, ground: np.ndarray, part: np.ndarray) -> Seen:
    inside = _erode(part)
    colour = np.median(pixels[inside if inside.sum() >= 20 else part], axis=0)
    # How far each pixel is on the way from the background to the object's colour: its coverage by the object.
    way = colour - ground
    coverage = np.clip((pixels - ground) @ way / (way @ way), 0, 1) * _dilate(part)
    mask = coverage > 0.5
    outline = _normalise(coverage)
    fits = {key: _soft_iou(outline, template) for key, template in _templates().items()}
    best = max(fits, key=fits.__getitem__)
    # Only animals have a way to face: where the best fit is no animal, the better of their outlines still decides.
    facing = max((key for key in fits if key[0] in ANIMALS), key=fits.__getitem__)[2]
    ys, xs = np.nonzero(mask)
    name = _nearest(colour[None], COLOURS)[0]
    return Seen(best[0], name, float(xs.mean()), float(ys.mean()), facing, fits[best], mask)


@lru_cache(maxsize=1)
def _templates() -> dict[tuple[str, int, int], np.ndarray]:
    """(shape, size, facing) -> normalised outline."""
    keys = [(shape, size, way) for shape in SHAPES for size in (20, 24, 28) for way in (1, -1)]
    return {
        (shape, size, way): _normalise(_soften(np.pad(silhouette(shape, size, way).astype(np.float32), 4)))
        for shape, size, way in keys
        if way == 1 or shape in ANIMALS
    }


def _normalise(coverage: np.ndarray) -> np.ndarray:
    """Centre an outline on its bounding box and scale its longer side to the canvas: float32 [32, 32] in 0..1."""
    ys, xs = np.nonzero(coverage > 0.4)
    cy, cx = (ys.min() + ys.max() + 1) / 2, (xs.min() + xs.max() + 1) / 2
    half = (max(np.ptp(ys), np.ptp(xs)) + 1) / 2 + 1
    picture = Image.fromarray(coverage.astype(np.float32))
    box = (cx - half, cy - half, cx + half, cy + half)
    step = 2 * half / _CANVAS
    affine = (step, 0, box[0], 0, step, box[1])
    return np.asarray(picture.transform((_CANVAS, _CANVAS), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR))


def _soften(coverage: np.ndarray) -> np.ndarray:
    """A 3 x 3 binomial blur: generated outlines are never as sharp as drawn ones."""
    for axis in (0, 1):
        coverage = 0.5 * coverage + 0.25 * (np.roll(coverage, 1, axis) + np.roll(coverage, -1, axis))
    return coverage


def _soft_iou(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


def _split_by_colour(pixels: np.ndarray, blob: np.ndarray) -> list[np.ndarray]:
    """A blob with two colours, each over a quarter of its inside, is two objects that touch."""
    inside = _erode(blob)
    if inside.sum() < 2 * _SMALLEST:
        return [blob]
    names, counts = np.unique(_nearest(pixels[inside], COLOURS), return_counts=True)
    major = names[counts >= max(0.25 * inside.sum(), 25)]
    if len(major) < 2:
        return [blob]
    labels = np.full(blob.shape, "", dtype=object)
    labels[blob] = _nearest(pixels[blob], {name: COLOURS[name] for name in major})
    return [part for name in major for part in _components(labels == name)]


def _nearest(colours: np.ndarray, palette: dict[str, tuple[int, int, int]]) -> list[str]:
    names = list(palette)
    distances = np.linalg.norm(colours[:, None] - np.array([palette[name] for name in names], np.float32), axis=-1)
    return [names[index] for index in distances.argmin(1)]


def _components(mask: np.ndarray) -> list[np.ndarray]:
    """8-connected parts of at least `_SMALLEST` pixels, each as a bool mask."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    parts = []
    while left:
        stack = [left.pop()]
        members = []
        while stack:
            y, x = stack.pop()
            members.append((y, x))
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            stack.extend(near)
        if len(members) >= _SMALLEST:
            part = np.zeros_like(mask)
            part[tuple(np.transpose(members))] = True
            parts.append(part)
    return parts


def _erode(mask: np.ndarray) -> np.ndarray:
    return ~_dilate(~mask)


def _dilate(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    return padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
