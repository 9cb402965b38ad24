"""A recorder that hands on what each layer recorded in each denoiser call, and keeps only the mean over the run."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

from promptattn.maps.capture import Relation
from promptattn.maps.recorder import ALL_STEPS, LayerSums, Recorder, Source, Sum, Watched, source_of
from promptattn.places import Grid

__all__ = ["Piece", "StreamRecorder"]


class Piece(NamedTuple):
    """What one layer recorded of one relation in one denoiser call.

    Attributes:
        source: as in :class:`promptattn.maps.recorder.Recorder`: which prediction or which text it is of.
        shares: float32 `[image]`, how much it counts for each image; None is 1 for all.
        mass: float32 `[image, (head,) query, column]`, on the denoiser's device; no one writes to it any more.
    """

    relation: Relation
    layer: str
    grid: Grid
    step: int
    source: Source
    shares: torch.Tensor | None
    mass: torch.Tensor


class StreamRecorder(Recorder):
    """Gives every piece to `sink` as soon as its layer is done; holds one layer's pieces, and the mean over the run.

    That a layer is done is known when the next one asks for its columns, and after the last one by :meth:`settle`.

    Args:
        sink: is given each piece once, in the order of the layers.
        heads, per_head: as in :class:`Recorder`, for the pieces; the mean over the run is over heads as well.
        per_step: keep the means of every step, as well as that over the run.
    """

    def __init__(
        self,
        sink: Callable[[Piece], None],
        *,
        heads: Sequence[int] | None = None,
        per_step: bool = False,
        per_head: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(heads=heads, per_step=per_step, per_head=per_head)
        self._sink = sink
        self._open: list[Piece] = []

    def reset(self) -> None:
        super().reset()
        self.drop()

    def settle(self) -> None:
        """Hand on what the layer that recorded last has recorded; to be called after each denoiser call."""
        pieces, self._open = self._open, []
        for piece in pieces:
            self._sum_up(piece)
            self._sink(piece)

    def drop(self) -> None:
        """Forget what is not handed on: the layer was interrupted, and what it recorded may be half of it."""
        self._open = []

    def heads_of(self, name: str) -> None:
        """None: heads are apart in what was handed on."""
        return

    def _buffer(
        self, name: str, grid: Grid, step: int, relation: Relation, watched: Watched, shape: tuple[int, int, int]
    ) -> torch.Tensor:
        if self._open and self._open[0].layer != name:
            self.settle()
        mass = torch.zeros(self._whole(name, shape), dtype=torch.float32, device=watched.device)
        self._open.append(Piece(relation, name, grid, step, source_of(relation, watched), watched.shares, mass))
        return mass

    def _sum_up(self, piece: Piece) -> None:
        mass = piece.mass if self.per_head is None else piece.mass.mean(dim=1)
        sums = self.layers.setdefault(piece.layer, LayerSums(piece.grid)).sums
        key = piece.step if self.per_step else ALL_STEPS, piece.source
        if key not in sums:
            sums[key] = Sum(torch.zeros_like(mass), piece.shares)  # memory of its own: the piece's is handed on
        sums[key].total.add_(mass)
        sums[key].calls += 1
