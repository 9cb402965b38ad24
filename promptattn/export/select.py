"""A part of saved maps: some words, layers or steps of what was recorded."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from promptattn.errors import CaptureError
from promptattn.maps import HeatMaps, LayerMaps, PromptInfo
from promptattn.selection import Steps, check_steps, in_steps, match_layers

__all__ = ["select"]

Array = NDArray[np.float32]


def select(
    maps: HeatMaps,
    *,
    words: Sequence[str | tuple[str, int]] | None = None,
    layers: Sequence[str] | str | None = None,
    steps: Steps = None,
) -> HeatMaps:
    """The maps of only these words, layers and steps; None keeps all.

    Args:
        words: words or phrases as in `maps[...]`. The columns of all other tokens, and of the markers, are left out, as
            with :class:`promptattn.Capture`, so the columns of a place no longer sum to 1, and how layers are combined
            follows from the chosen words alone (see `HeatMaps.shares`).
        layers: names, beginnings of names, or globs.
        steps: the mean over these steps; needs a run that kept its steps apart. Maps of patches and of single heads
            are means over all steps, and are left out.

    Raises:
        CaptureError: for a word that is in none of the prompts, or for steps that were not recorded apart.
        ConfigError: for layers that match nothing.
    """
    if layers is not None:
        maps = _layers(maps, layers)
    if steps is not None:
        maps = _steps(maps, steps)
    return maps if words is None else _words(maps, words)


def _layers(maps: HeatMaps, layers: Sequence[str] | str) -> HeatMaps:
    names = list(dict.fromkeys([*maps.layers, *(patch.name for patch in maps.patches)]))
    kept = set(match_layers(names, layers, "layers"))
    records = tuple(record for record in maps.records if record.name in kept)
    if not records:
        raise CaptureError(
            f"layers={layers!r} selects no layer that looks at words. Recorded: {', '.join(maps.layers)}."
        )
    return replace(
        maps,
        records=records,
        sources=tuple(record for record in maps.sources if record.name in kept),
        patches=tuple(patch for patch in maps.patches if patch.name in kept),
    )


def _steps(maps: HeatMaps, steps: Steps) -> HeatMaps:
    check_steps(steps, "steps")
    numbers = sorted({number for record in maps.records for number in record.step_numbers})
    if not numbers:
        raise CaptureError(
            "steps were not kept apart in this run, so none can be chosen now; generate with capture.per_step: true"
            " (Capture(per_step=True))."
        )
    total = int(maps.meta.get("steps", numbers[-1] + 1))
    chosen = [number for number in numbers if in_steps(steps, number, total)]
    if not chosen:
        raise CaptureError(f"steps={steps!r} selects none of the recorded steps: {', '.join(map(str, numbers))}.")
    records = tuple(_mean_of_steps(record, chosen) for record in maps.records)
    sources = tuple(_mean_of_steps(record, chosen) for record in maps.sources)
    return replace(maps, records=records, sources=sources, patches=())


def _mean_of_steps(layer: LayerMaps, chosen: Sequence[int]) -> LayerMaps:
    places = [layer.step_numbers.index(number) for number in chosen if number in layer.step_numbers]
    if layer.per_step is None or not places:
        raise CaptureError(f"layer {layer.name} recorded none of the steps {', '.join(map(str, chosen))}.")
    per_step = layer.per_step[places]
    steps = tuple(layer.step_numbers[place] for place in places)
    mean = per_step.mean(axis=0, dtype=np.float64).astype(np.float32)
    return replace(layer, mass=mean, per_step=per_step, steps=steps, per_head=None, heads=None)


def _words(maps: HeatMaps, words: Sequence[str | tuple[str, int]]) -> HeatMaps:
    kept = _columns(maps.prompts, words)
    wide = max(map(len, kept))
    picked = _picker(maps.prompt_index, kept, wide)

    def narrowed(layer: LayerMaps) -> LayerMaps:
        return replace(
            layer,
            mass=picked(layer.mass),
            per_step=None if layer.per_step is None else np.stack([picked(step) for step in layer.per_step]),
            per_head=None if layer.per_head is None else picked(layer.per_head),
        )

    prompts = tuple(
        replace(prompt, columns=tuple(prompt.columns[index] for index in columns))
        for prompt, columns in zip(maps.prompts, kept, strict=True)
    )
    records, sources = (tuple(map(narrowed, layers)) for layers in (maps.records, maps.sources))
    return replace(maps, prompts=prompts, records=records, sources=sources)


def _columns(prompts: Sequence[PromptInfo], words: Sequence[str | tuple[str, int]]) -> list[list[int]]:
    """For each prompt the columns of the chosen words. A word need not be in every prompt."""
    chosen: list[set[int]] = [set() for _ in prompts]
    for word in words:
        phrase, occurrence = (word, 0) if isinstance(word, str) else word
        missing: CaptureError | None = None
        found = False
        for prompt, wanted in zip(prompts, chosen, strict=True):
            try:
                indices = [each.index for each in prompt.find(phrase, occurrence)]
            except CaptureError as error:
                missing = missing or error
                continue
            # A word has copies where several text encoders have rows of their own.
            tokens = {copy for index in indices for copy in prompt.copies(index)}
            columns = {index for index, column in enumerate(prompt.columns) if (column.encoder, column.token) in tokens}
            found |= bool(columns)
            wanted |= columns
        if not found:
            raise missing or CaptureError(f"{phrase!r} has no map: it was cut off, or not captured in this run.")
    return [sorted(each) for each in chosen]


def _picker(prompt_index: Sequence[int], kept: Sequence[Sequence[int]], wide: int) -> Callable[[Array], Array]:
    """Takes from `[image, ..., column]` the columns of each image's prompt; prompts with fewer are filled up with 0."""

    def picked(mass: Array) -> Array:
        out = np.zeros((*mass.shape[:-1], wide), dtype=np.float32)
        for image, prompt in enumerate(prompt_index):
            out[image, ..., : len(kept[prompt])] = mass[image][..., list(kept[prompt])]
        return out

    return picked
