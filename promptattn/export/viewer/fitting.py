"""As much of a run as fits into a number of bytes: resolution goes first, then the least telling planes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from promptattn.export.viewer.packing import deflated, differences, in_bytes
from promptattn.export.viewer.planes import Plane, Tier

__all__ = ["Fitted", "fit"]

LONGEST = (64, 48, 32, 24, 16)
COARSEST = 8
SPARING = 0.6  # characters for a byte of a map, where it deflates very well; most take about 1.1


@dataclass(frozen=True)
class Fitted:
    """The planes that fit: what each one is, their numbers as text, and a sentence on what did not fit, or ""."""

    planes: list[dict[str, Any]]
    blob: str
    note: str


def fit(found: Sequence[Tier], room: int) -> Fitted:
    """The first so many of `found`, as fine as possible, in at most `room` characters.

    The blob holds, for each plane in order, a float32 top and share for each word; then, likewise in order, each
    plane's maps as bytes of which 255 is the top (see `packing.differences`).
    """
    for count, longest in _attempts(len(found)):
        planes = [plane for tier in found[:count] for plane in tier.planes]
        if SPARING * sum(len(plane.heats) * np.prod(plane.grid(longest)) for plane in planes) > room:
            continue
        blob = _packed(planes, longest)
        described = [_described(plane, longest) for plane in planes]
        if len(blob) + sum(len(str(each)) for each in described) <= room:
            return Fitted(described, blob, _note(found, count, longest))
    return Fitted([], "", _note(found, 0, COARSEST))


def _attempts(count: int) -> Iterator[tuple[int, int]]:
    """(tiers, longest side): everything a little coarser before anything is left out; very coarse as a last resort."""
    yield from ((kept, longest) for kept in range(count, 0, -1) for longest in LONGEST)
    yield from ((kept, COARSEST) for kept in range(count, 0, -1))


def _packed(planes: Sequence[Plane], longest: int) -> str:
    numbers, levels = [], []
    for plane in planes:
        masses = plane.masses(longest)
        numbers.append(np.stack([masses.max(axis=(1, 2)), plane.shares]).astype("<f4"))
        levels.append(differences(in_bytes(masses)))
    return deflated(b"".join(number.tobytes() for number in numbers) + b"".join(levels))


def _described(plane: Plane, longest: int) -> dict[str, Any]:
    grid = plane.grid(longest)
    return {"layer": plane.layer, "step": plane.step, "head": plane.head, "looking": plane.looking, "grid": grid}


def _note(found: Sequence[Tier], count: int, longest: int) -> str:
    """What the page says of its own limits."""
    kept = [plane for tier in found[:count] for plane in tier.planes]
    said = []
    if any(plane.grid(longest) != plane.grid(1_000_000) for plane in kept):
        said.append(f"Single parts of the run are shown at no more than {longest} places a side.")
    if count < len(found):
        said.append(f"Left out: {', '.join(tier.name for tier in found[count:])}.")
    return " ".join([*said, "This keeps the page small; maps.npz holds all of it, exactly."]) if said else ""
