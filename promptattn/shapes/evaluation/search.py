"""Which layers and heads ground best together: chosen on one half of the cases, tested on the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptattn.maps import resize
from promptattn.maps.metrics import average_precision
from promptattn.shapes.evaluation.grounding import Heats
from promptattn.shapes.evaluation.recording import Recording
from promptattn.shapes.evaluation.selections import Selection, Unit, heat

__all__ = ["Choice", "all_units", "best_single", "crossed", "greedy"]

Maps = dict[Unit, list[NDArray[np.float32]]]


@dataclass(frozen=True)
class Choice:
    """What was chosen on one half: a selection and the score that it had there."""

    selection: Selection
    score: float


def all_units(recording: Recording, *, heads: bool) -> list[Unit]:
    """Every layer, or every head of every layer."""
    if not heads:
        return [(name, None) for name in recording.layers]
    return [(name, head) for name, layer in recording.layers.items() for head in range(len(layer.heads))]


def best_single(recordings: Sequence[Recording], units: Sequence[Unit], half: int) -> Choice:
    """The one unit whose maps score best on a half."""
    mine, maps = _maps(recordings, units, half)
    scores = {unit: _score(mine, maps[unit]) for unit in units}
    best = max(units, key=scores.__getitem__)
    return Choice(Selection("chosen", _label([best]), (best,)), scores[best])


def greedy(recordings: Sequence[Recording], units: Sequence[Unit], half: int, gain: float = 0.002) -> Choice:
    """Units added one by one, each time the one that helps most, until none raises the score by `gain`.

    The score is the mean average precision of nouns and of colours, in equal parts; the maps of the units are averaged.
    """
    mine, maps = _maps(recordings, units, half)
    chosen: list[Unit] = []
    total = [np.zeros_like(each) for each in maps[units[0]]]
    score = 0.0
    while len(chosen) < len(units):
        # Average precision knows no scale, so sums stand for means.
        trials = {
            unit: _score(mine, [a + b for a, b in zip(total, maps[unit], strict=True)])
            for unit in units
            if unit not in chosen
        }
        best = max(trials, key=trials.__getitem__)
        if trials[best] < score + gain:
            break
        chosen.append(best)
        score = trials[best]
        total = [a + b for a, b in zip(total, maps[best], strict=True)]
    return Choice(Selection("chosen", _label(chosen), tuple(chosen)), score)


def crossed(choose: Callable[[int], Choice]) -> tuple[tuple[Choice, Choice], Heats]:
    """What `choose` finds on either half, and maps of every recording by the choice made on the half it is not in."""
    choices = choose(0), choose(1)

    def heats(recording: Recording) -> NDArray[np.float64]:
        return heat(choices[1 - recording.half].selection, recording)

    return choices, heats


def _maps(recordings: Sequence[Recording], units: Sequence[Unit], half: int) -> tuple[list[Recording], Maps]:
    mine = [recording for recording in recordings if recording.half == half]
    return mine, {unit: [_resized(recording, unit) for recording in mine] for unit in units}


def _resized(recording: Recording, unit: Unit) -> NDArray[np.float32]:
    name, head = unit
    layer = recording.layers[name]
    maps = layer.steps.mean(axis=0) if head is None else layer.heads[head]
    return resize(maps, (recording.image.shape[0], recording.image.shape[1]))


def _score(recordings: Sequence[Recording], maps: Sequence[NDArray[np.float32]]) -> float:
    found: dict[str, list[float]] = {}
    for recording, heats in zip(recordings, maps, strict=True):
        for word, single in zip(recording.words, heats, strict=True):
            if word.present:
                found.setdefault(word.role, []).append(average_precision(single, word.own))
    return float(np.mean([np.mean(values) for values in found.values()])) if found else 0.0


def _label(units: Sequence[Unit]) -> str:
    return " + ".join(name if head is None else f"{name} head {head}" for name, head in units)
