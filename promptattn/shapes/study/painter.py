"""Prompts to images through the public API, many in one pipeline call."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from promptattn.errors import PromptAttnWarning
from promptattn.shapes.study.cases import Case
from promptattn.shapes.study.cells import Cell

__all__ = ["Painted", "Painter", "fingerprint", "paint"]


@dataclass(frozen=True, eq=False)
class Painted:
    """An image, uint8 `[height, width, 3]`, and the maps of the case's own and other word where they were asked for,
    float32 `[height, width]`."""

    image: np.ndarray
    maps: Mapping[str, np.ndarray]


Painter = Callable[[Cell, Sequence[Case]], list[Painted]]
"""Paints each of the cases with the cell's weight on its target."""


def paint(
    pipe: Any, cell: Cell, cases: Sequence[Case], options: Mapping[str, Any], *, maps: bool = False
) -> list[Painted]:
    """One pipeline call for all cases; each has a generator of its own, so that its latents depend on its seed only."""
    from promptattn import Capture, attend

    weighted = [case.text if cell.weight == 1 else case.prompt(cell.target, cell.written) for case in cases]
    capture = Capture(relations="image->text") if maps else False
    with warnings.catch_warnings():
        # Weights far out and words without any attention are what is studied here.
        warnings.simplefilter("ignore", PromptAttnWarning)
        with attend(pipe, weighted, capture=capture, weighting=cell.method) as run:
            images = _call(pipe, run.inputs, cases, options)
        if not maps:
            return [Painted(image, {}) for image in images]
        return [
            Painted(image, _maps_of(run.maps.image(index), case, cell.target))
            for index, (image, case) in enumerate(zip(images, cases, strict=True))
        ]


def _call(pipe: Any, inputs: Mapping[str, Any], cases: Sequence[Case], options: Mapping[str, Any]) -> list[np.ndarray]:
    import torch

    generators = [torch.Generator().manual_seed(case.seed) for case in cases]
    images = pipe(**inputs, **options, generator=generators, output_type="pil").images
    return [np.asarray(image.convert("RGB")) for image in images]


def _maps_of(maps: Any, case: Case, target: str) -> dict[str, np.ndarray]:
    marks = {"own": case.own[target]} | ({"other": case.other[target]} if target in case.other else {})
    return {name: np.array(maps[case.word(mark)].array, np.float32) for name, mark in marks.items()}


def fingerprint(pipe: Any) -> str:
    """A short name for the pipeline's weights, so that results of other weights are not taken for its own."""
    from hashlib import sha256

    import torch

    digest = sha256()
    for name, part in sorted(pipe.components.items()):
        if isinstance(part, torch.nn.Module):
            for key, value in sorted(part.state_dict().items()):
                digest.update(f"{name}.{key}{tuple(value.shape)}".encode())
                digest.update(value.flatten()[:64].float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
