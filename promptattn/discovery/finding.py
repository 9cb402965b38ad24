"""A layout for a denoiser that the table does not know, from what its layers were seen to read."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from promptattn.discovery.arguments import Arguments, find_arguments
from promptattn.discovery.keys import Reading, readings, spread
from promptattn.discovery.listening import Unknown
from promptattn.discovery.text import find_text
from promptattn.errors import UnsupportedModelError
from promptattn.places import Grid
from promptattn.processors.install import attention_layers
from promptattn.processors.layouts import FOUND, LAYOUTS, READING, LayerKind, Layout, known_layout
from promptattn.processors.layouts.grids import halvings, packed
from promptattn.processors.layouts.sizes import of_positions, of_shapes
from promptattn.processors.segments import FOUND_TEXTS, knows_text
from promptattn.telling import tell

__all__ = ["layout_for"]


def layout_for(pipe: Any, denoiser: torch.nn.Module) -> Layout:
    """The layout of a pipeline's denoiser: the table's, and for a class that it does not know the one found by trying.

    What was found is kept for this denoiser, and told once.

    Raises:
        UnsupportedModelError: for a denoiser that is refused by name, and for one of which it cannot be told where its
            text and its image stand; says why.
    """
    if layout := known_layout(denoiser):
        return layout
    name = type(denoiser).__name__
    try:
        arguments = find_arguments(pipe, denoiser)
        found = _found(denoiser, arguments)
        text = None if knows_text(denoiser) else find_text(pipe, arguments)
    except Unknown as reason:
        raise UnsupportedModelError(
            f"{name} is not a denoiser that promptattn knows, and where its text and its image stand could not be found"
            f" out by trying: {reason}. It knows {', '.join(sorted(LAYOUTS))}."
        ) from reason
    tell(
        f"{name} is not a denoiser that promptattn knows; tried with changed prompts, it was found to take"
        f" {found.told}. Weights and maps go by that."
    )
    FOUND[denoiser] = found
    if text is not None:
        FOUND_TEXTS[denoiser] = text
    return found


@dataclass(frozen=True)
class FoundLayout(Layout):
    """A layout found by trying.

    Attributes:
        kinds: the kind of each layer, by name. Layers that attend to something else are left out, and so are those
            whose attention cannot be entered.
        told: what was found, in words.
    """

    kinds: Mapping[str, LayerKind] = field(default_factory=dict)
    told: str = ""

    def layers(self, denoiser: torch.nn.Module) -> dict[str, LayerKind]:
        return {name: self.kinds[name] for name in attention_layers(denoiser) if name in self.kinds}


@dataclass(frozen=True)
class _Side:
    """Where text and image stand among the keys of a layer that has both: the numbers of their first rows."""

    text: int
    image: int

    @property
    def text_first(self) -> bool:
        return self.text < self.image


def _found(denoiser: torch.nn.Module, arguments: Arguments) -> FoundLayout:
    rows, sample = int(arguments.given[arguments.text].shape[1]), arguments.given[arguments.sample]
    calls = readings(denoiser, arguments)
    kinds: dict[str, LayerKind] = {}
    sides: set[_Side] = set()
    places: set[int] = set()
    for name, made in calls.items():
        for call in made:
            kind = _kind(call, rows)
            if kind is None:
                continue
            if kinds.setdefault(name, kind) != kind:
                raise Unknown(f"{name} attends to text in one call and to something else in another")
            sides |= {_side(name, call, rows)} if kind in ("joint", "added") else set()
            places |= {len(call.image_queries)} - {0}
    reading = set(kinds.values()) & set(READING)
    if not reading:
        raise Unknown("none of its attention layers has keys that go with rows of the text, one by one")
    if len(sides) > 1 or (sides and len(places) > 1):
        raise Unknown("text and image stand at other rows in some of its layers than in others")
    size, grids, told = _grid(arguments, sample, places)
    if sample.ndim == 4:
        _check_order(denoiser, arguments, grids(_latent_size(sample), None))
    side = next(iter(sides), _Side(0, rows))
    unseen = set(attention_layers(denoiser)) - set(calls)
    return FoundLayout(
        families={},
        size=size,
        grids=grids,
        kind=lambda layer: "image",
        attention="joint" if "joint" in reading else "added" if "added" in reading else "cross",
        text=arguments.text,
        pooled=arguments.pooled,
        sample=arguments.sample,
        timestep=arguments.timestep,
        text_first=side.text_first,
        mask=arguments.mask,
        before_text=side.text if side.text_first else 0,
        kinds=kinds,
        told=_told(arguments, rows, kinds, told, unseen),
    )


def _kind(call: Reading, rows: int) -> LayerKind | None:
    """What one attention call attends to; None for something else than text and image."""
    image = len(call.image_queries)
    if not call.text:
        return "image" if call.queries == call.keys == image else None
    if not image:
        return "text" if not call.image_keys else None
    if call.keys == rows and image == call.queries:
        return "cross"
    return "joint" if call.queries == call.keys else "added" if image == call.queries else None


def _side(name: str, call: Reading, rows: int) -> _Side:
    """Where text and image stand among the keys: one run of rows each, one behind the other."""
    text, image = call.text.get(0, -1), call.image_keys[0] if call.image_keys else -1
    stop = image + len(call.image_keys)
    if call.text != {row: text + row for row in range(rows)} or call.image_keys != tuple(range(image, stop)):
        raise Unknown(f"in {name} the rows of text and image are not two runs, each in its order")
    text_first = text + rows == image and stop == call.keys
    if not text_first and not (image == 0 and stop == text and text + rows == call.keys):
        raise Unknown(f"in {name} there are rows between and behind those of text and image")
    return _Side(text, image)


def _grid(
    arguments: Arguments, sample: torch.Tensor, places: set[int]
) -> tuple[Callable[[Mapping[str, Any]], Grid], Callable[[Grid, Any], list[Grid]], str]:
    """How to tell the latents' size, how to tell the grids of the layers from that, and the same in words."""
    if sample.ndim == 3:
        if "img_shapes" in arguments.given:
            return of_shapes, packed, "its rows placed by img_shapes"
        if arguments.positions is None or places != {sample.shape[1]}:
            raise Unknown("its latents come as rows, and no argument tells which place of the image each of them is")
        return partial(of_positions, name=arguments.positions), packed, f"its rows placed by {arguments.positions}"
    height, width = _latent_size(sample)
    size = partial(_size_of, name=arguments.sample)
    side = math.isqrt(height * width // max(places))
    if len(places) == 1 and places == {(height // side) * (width // side)}:
        return size, partial(_squares, side=side), f"one place for every {side} x {side} latent pixels"
    if places <= {rows * columns for rows, columns in halvings((height, width), None)}:
        return size, halvings, "on grids each half as fine as the one before"
    raise Unknown(
        f"for latents of {height} x {width} its layers have {', '.join(map(str, sorted(places)))} places, of which no"
        " grid is known"
    )


def _check_order(denoiser: torch.nn.Module, arguments: Arguments, grids: list[Grid]) -> None:
    """See that places follow each other row by row; behind convolutions one pixel moves too many of them to tell."""
    if len(grids) > 1:
        return
    ((height, width),) = grids
    for place, seat in (((..., 0, -1), width - 1), ((..., -1, 0), (height - 1) * width)):
        for name, (moved, first) in spread(denoiser, arguments, place).items():
            if len(moved) == 1 and moved[0] - first != seat:
                raise Unknown(f"in {name} the places of the image do not follow each other row by row")


def _size_of(arguments: Mapping[str, Any], name: str) -> Grid:
    return _latent_size(arguments[name])


def _latent_size(sample: torch.Tensor) -> Grid:
    height, width = sample.shape[-2:]
    return int(height), int(width)


def _squares(size: Grid, config: Any, side: int) -> list[Grid]:
    return [(size[0] // side, size[1] // side)]


_READ: dict[LayerKind, str] = {
    "cross": "in cross-attention",
    "joint": "in joint attention",
    "added": "beside the image",
    "text": "among itself",
    "image": "",
}


def _told(arguments: Arguments, rows: int, kinds: Mapping[str, LayerKind], grid: str, unseen: set[str]) -> str:
    """What was found, as a clause."""
    counts = Counter(kinds.values())
    readers = ", ".join(f"{counts[kind]} layers {how}" for kind, how in _READ.items() if how and counts[kind])
    left_out = f"; {len(unseen)} layers cannot be entered (first: {min(unseen)})" if unseen else ""
    return (
        f"its text as {arguments.text} ({rows} rows, read by {readers}) and its latents as {arguments.sample}"
        f" ({grid}){left_out}"
    )
