"""Accumulators on the device: running sums of attention columns, one small buffer per layer."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from promptattn.core import Columns
from promptattn.maps.capture import Relation
from promptattn.places import Grid, Places

__all__ = ["ALL_STEPS", "Arrange", "LayerSums", "Recorder", "Source", "Sum", "Watched", "source_of"]


Source = int
"""What a sum is of: one of the predictions that a step is composed of, or one text whose own rows are watched."""


@dataclass
class Sum:
    """A running sum float32 `[image, (head,) query, column]` and the number of denoiser calls in it.

    `shares` float32 `[image]` is how much it counts for each image; None is 1 for all.
    """

    total: torch.Tensor
    shares: torch.Tensor | None = None
    calls: int = 0


@dataclass
class LayerSums:
    """The sums of one layer by step number and source; without `per_step` the step is :data:`ALL_STEPS`."""

    grid: Grid
    sums: dict[tuple[int, Source], Sum] = field(default_factory=dict)


ALL_STEPS = -1

Arrange = Callable[[Source, torch.Tensor], torch.Tensor]
"""From a source and its sum to one whose queries and columns mean the same for every source."""


class Recorder:
    """Collects one relation from many layers; memory does not grow with steps or heads unless they stay apart.

    Args:
        heads: the heads to average over, or None for all.
        per_step: keep every step apart too.
        per_head: the number of heads of each layer, by name, to keep those heads apart too; None averages over them.
    """

    def __init__(
        self,
        *,
        heads: Sequence[int] | None = None,
        per_step: bool = False,
        per_head: Mapping[str, int] | None = None,
    ) -> None:
        self.heads = None if heads is None else tuple(heads)
        self.per_step = per_step
        self.per_head = per_head
        self.layers: dict[str, LayerSums] = {}

    def reset(self) -> None:
        """Forget everything, at the start of another image."""
        self.layers.clear()

    def watch(
        self,
        name: str,
        relation: Relation,
        watched: "Watched",
        places: Callable[[int], Places | None],
        *,
        step: int,
        rows: slice,
    ) -> Callable[[int], Columns | None]:
        """What a layer is to record in one denoiser call: asked with the call's number of queries, the columns to keep.

        places: from the number of queries to where text and image stand, or None where they cannot be told.
        rows: the batch rows that hold the images.
        """

        def columns(queries: int) -> Columns | None:
            found = places(queries)
            if found is None:
                return None
            selection = watched.select(relation, found)
            return Columns(
                index=selection.keys,
                groups=selection.groups,
                n_groups=None if selection.groups is None else watched.columns,
                heads=self.heads,
                reduce="mean" if self.per_head is None else "none",
                batch_rows=rows,
                query_rows=selection.queries,
                into=self._buffer(
                    name, found.grid, step, relation, watched, (rows.stop - rows.start, *selection.shape)
                ),
            )

        return columns

    def _buffer(
        self, name: str, grid: Grid, step: int, relation: Relation, watched: "Watched", shape: tuple[int, int, int]
    ) -> torch.Tensor:
        """The buffer that the core adds to in place during this call of this layer.

        Float32 of the given shape `[image, query, column]`, or with `per_head` `[image, head, query, column]`.
        """
        sums = self.layers.setdefault(name, LayerSums(grid)).sums
        # With per_step the whole is the sum of the steps, so each call is written once, into its own step.
        key = step if self.per_step else ALL_STEPS, source_of(relation, watched)
        if key not in sums:
            whole = self._whole(name, shape)
            sums[key] = Sum(torch.zeros(whole, dtype=torch.float32, device=watched.device), watched.shares)
        sums[key].calls += 1
        return sums[key].total

    def mean(self, name: str, arrange: Arrange | None = None) -> torch.Tensor:
        """Mean over the recorded denoiser calls and heads, float32 `[image, query, column]`.

        Calls of several sources count by their shares; `arrange` is needed where their queries differ.
        """
        return _over_heads(_mean(self.layers[name].sums.items(), arrange))

    def heads_of(self, name: str) -> torch.Tensor | None:
        """Mean over the recorded denoiser calls, float32 `[image, head, query, column]`; None unless `per_head`."""
        return None if self.per_head is None else _mean(self.layers[name].sums.items(), None)

    def steps(self, name: str, arrange: Arrange | None = None) -> dict[int, torch.Tensor]:
        """Mean of every recorded step over heads, by step number; empty unless `per_step`."""
        sums = self.layers[name].sums.items()
        numbers = sorted({step for (step, _), _ in sums if step != ALL_STEPS})
        return {
            number: _over_heads(_mean([(key, part) for key, part in sums if key[0] == number], arrange))
            for number in numbers
        }

    def _whole(self, name: str, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """`[image, query, column]` with the axis of heads, where those stay apart."""
        if self.per_head is None:
            return shape
        images, *rest = shape
        return images, self.per_head[name] if self.heads is None else len(self.heads), *rest


def _mean(sums: Iterable[tuple[tuple[int, Source], Sum]], arrange: Arrange | None) -> torch.Tensor:
    total: torch.Tensor | None = None
    calls: torch.Tensor | int = 0
    for (_, source), part in sums:
        mass = part.total if arrange is None else arrange(source, part.total)
        if part.shares is not None:
            mass = mass * _along(part.shares, mass)
        total = mass if total is None else total + mass
        calls = calls + (part.calls if part.shares is None else part.calls * part.shares)
    assert total is not None
    return total / (calls if isinstance(calls, int) else _along(calls, total))


def _along(images: torch.Tensor, mass: torch.Tensor) -> torch.Tensor:
    """A number for each image `[image]`, to meet `[image, ...]`."""
    return images.to(mass.device).view(-1, *[1] * (mass.ndim - 1))


def _over_heads(mass: torch.Tensor) -> torch.Tensor:
    """`[image, (head,) query, column]` to `[image, query, column]`."""
    return mass.mean(dim=1) if mass.ndim == 4 else mass


@dataclass(frozen=True)
class Watched:
    """What of a batch is watched, on the denoiser's device.

    Attributes:
        groups: int64 `[image, key row]`: the column that each of `key_rows` is summed into, -1 for none.
        columns: the number of columns.
        key_rows: int64 `[key row]`: the rows of the text that have a column in any of the images.
        text_rows: int64 `[query]`: the rows of the text whose own attention is watched.
        patches: places of the image as (row, column) shares of its height and width.
        part: which of the predictions that the step is composed of this is; each is summed up apart.
        text: which text this is, for relations whose queries are its own rows.
        shares: float32 `[image]`, how much this prediction counts for each image; None is 1 for all.
    """

    groups: torch.Tensor
    columns: int
    key_rows: torch.Tensor
    text_rows: torch.Tensor
    patches: Sequence[tuple[float, float]] = ()
    part: Source = 0
    text: Source = 0
    shares: torch.Tensor | None = None
    _selections: dict[tuple[object, ...], "_Selection"] = field(default_factory=dict, init=False, repr=False)

    @property
    def device(self) -> torch.device:
        return self.groups.device

    def select(self, relation: Relation, places: Places) -> "_Selection":
        """What is kept of a layer; made once for all layers and steps where text and image stand alike.

        Patches are known on the host: moving them in every call would wait for the device every time.
        """
        spans = (places.image, places.image_keys, places.text)
        key = relation, places.grid, *(None if rows is None else (rows.start, rows.stop) for rows in spans)
        if key not in self._selections:
            self._selections[key] = _SELECT[relation](self, places)
        return self._selections[key]


class _Selection(NamedTuple):
    """queries: whose attention; keys: to what; groups: summed how; shape: (queries, columns) of what is kept."""

    queries: slice | torch.Tensor | None
    keys: torch.Tensor
    groups: torch.Tensor | None
    shape: tuple[int, int]


def _image_to_text(watched: Watched, places: Places) -> _Selection:
    keys = watched.key_rows + _text(places).start
    return _Selection(places.image, keys, watched.groups, (_length(places.image), watched.columns))


def _image_to_image(watched: Watched, places: Places) -> _Selection:
    height, width = places.grid
    picked = [int(row * height) * width + int(column * width) for row, column in watched.patches]
    keys = torch.tensor(picked, device=watched.device) + (places.image_keys or places.image).start
    return _Selection(places.image, keys, None, (_length(places.image), len(picked)))


def _text_to_image(watched: Watched, places: Places) -> _Selection:
    queries = watched.text_rows + _text(places).start
    return _Selection(
        queries, _rows(places.image, watched.device), None, (len(watched.text_rows), _length(places.image))
    )


def _text_to_text(watched: Watched, places: Places) -> _Selection:
    start = _text(places).start
    shape = (len(watched.text_rows), watched.columns)
    return _Selection(watched.text_rows + start, watched.key_rows + start, watched.groups, shape)


_SELECT: dict[Relation, Callable[[Watched, Places], _Selection]] = {
    "image->text": _image_to_text,
    "image->image": _image_to_image,
    "text->image": _text_to_image,
    "text->text": _text_to_text,
}


_OF_TEXT: tuple[Relation, ...] = ("text->image", "text->text")


def source_of(relation: Relation, watched: Watched) -> Source:
    """What a sum of this relation is of: the text where its own rows are the queries, else the prediction."""
    return watched.text if relation in _OF_TEXT else watched.part


def _text(places: Places) -> slice:
    assert places.text is not None
    return places.text


def _length(rows: slice) -> int:
    return int(rows.stop - rows.start)


def _rows(rows: slice, device: torch.device) -> torch.Tensor:
    return torch.arange(rows.start, rows.stop, device=device)
