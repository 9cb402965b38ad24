"""Which layers, steps and heads a map is made of, and the map that they make of a recording."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptattn.maps import resize
from promptattn.maps.combination import RULES, Rule, layer_shares
from promptattn.selection import in_steps
from promptattn.shapes.evaluation.recording import Recording

__all__ = ["QUARTERS", "Selection", "Unit", "catalogue", "groups", "heat"]

Unit = tuple[str, int | None]
"""A layer, and one of its heads or None for their mean."""


@dataclass(frozen=True)
class Selection:
    """A way to make one map out of many.

    Attributes:
        kind: what it is a case of, for tables: "rule", "group", "layer", "head", "layer and steps", "steps",
            "cumulative", "chosen".
        units: the layers and heads that are averaged; or the name of a rule of `promptattn.maps` over all layers.
        steps: the part of the run, as shares (start, stop); heads are recorded over the whole run only.
    """

    kind: str
    name: str
    units: tuple[Unit, ...] | Rule
    steps: tuple[float, float] = (0.0, 1.0)


def heat(selection: Selection, recording: Recording) -> NDArray[np.float64]:
    """The maps of all words of a recording at its image's resolution, `[word, height, width]`."""
    size = recording.image.shape[0], recording.image.shape[1]
    grids: dict[tuple[int, int], NDArray[np.float64]] = {}
    for (name, head), weight in _weights(selection, recording).items():
        layer = recording.layers[name]
        maps = _mean_over(layer.steps, selection.steps) if head is None else layer.heads[head].astype(np.float64)
        grids[layer.grid] = grids.get(layer.grid, 0) + weight * maps
    return np.sum([resize(maps, size) for maps in grids.values()], axis=0, dtype=np.float64)


def _weights(selection: Selection, recording: Recording) -> dict[Unit, float]:
    if not isinstance(selection.units, str):
        return {unit: 1 / len(selection.units) for unit in selection.units}
    masses = {name: layer.mass for name, layer in recording.layers.items()}
    return {(name, None): weight for name, weight in layer_shares(selection.units, masses).items() if weight}


def _mean_over(steps: NDArray[np.float32], part: tuple[float, float]) -> NDArray[np.float64]:
    return steps[_steps_in(part, len(steps))].mean(axis=0, dtype=np.float64)


def _steps_in(part: tuple[float, float], total: int) -> list[int]:
    return [step for step in range(total) if in_steps(part, step, total)]


def catalogue(recording: Recording) -> list[Selection]:
    """Everything that is compared by itself: the rules, groups of layers, layers, heads, and parts of the run.

    Parts of the run that have no step, when there are few, are left out.
    """
    names = list(recording.layers)
    found = [Selection("rule", rule, rule) for rule in RULES]
    found += [Selection("group", label, _whole(members)) for label, members in groups(recording).items()]
    found += [Selection("layer", name, _whole([name])) for name in names]
    for name in names:
        heads = len(recording.layers[name].heads)
        found += [Selection("head", f"{name} head {head}", ((name, head),)) for head in range(heads)]
    for label, part in QUARTERS.items():
        found += [Selection("layer and steps", f"{name}, {label}", _whole([name]), part) for name in names]
    found += [Selection("steps", f"coherence, {label}", "coherence", part) for label, part in PARTS.items()]
    found += [Selection("cumulative", f"coherence, first {stop:.0%}", "coherence", (0.0, stop)) for stop in STOPS]
    total = len(recording.layers[names[0]].steps)
    return [each for each in found if _steps_in(each.steps, total)]


QUARTERS = {f"quarter {i + 1} of 4": (i / 4, (i + 1) / 4) for i in range(4)}
PARTS = {f"third {i + 1} of 3": (i / 3, (i + 1) / 3) for i in range(3)} | QUARTERS
STOPS = (0.1, 0.2, 0.4, 0.6, 0.8)


def groups(recording: Recording) -> dict[str, list[str]]:
    """Layers by resolution, by the block of a UNet, and by depth, where that tells them apart."""
    names = list(recording.layers)
    by_grid: dict[str, list[str]] = {}
    by_block: dict[str, list[str]] = {}
    for name in names:
        height, width = recording.layers[name].grid
        by_grid.setdefault(f"grid {height} x {width}", []).append(name)
        by_block.setdefault(name.split(".")[0], []).append(name)
    thirds = [[str(name) for name in part] for part in np.array_split(names, 3)]
    by_depth = dict(
        zip(("first third of layers", "middle third of layers", "last third of layers"), thirds, strict=True)
    )
    parts = [found for found in (by_grid, by_block, by_depth) if len(found) > 1]
    return {label: members for found in parts for label, members in found.items() if 0 < len(members) < len(names)}


def _whole(names: Sequence[str]) -> tuple[Unit, ...]:
    return tuple((name, None) for name in names)
