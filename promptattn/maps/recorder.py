"""Accumulators on the device: running sums of attention columns, one small buffer per layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from promptattn.core import Columns

__all__ = ["LayerTap", "PatchTap", "Recorder"]

Grid = tuple[int, int]


@dataclass
class _Sum:
    """A running sum float32 `[image, (head,) query, column]` and the number of denoiser calls in it."""

    total: torch.Tensor
    calls: int = 0

    def mean(self) -> torch.Tensor:
        return self.total / self.calls


@dataclass
class _Layer:
    """The sums of one layer by step number; without `per_step` a single one, under :data:`_ALL`."""

    grid: Grid
    sums: dict[int, _Sum] = field(default_factory=dict)


_ALL = -1


class Recorder:
    """Collects one kind of columns from many layers; memory does not grow with steps or heads unless they stay apart.

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
        self.layers: dict[str, _Layer] = {}

    def reset(self) -> None:
        """Forget everything, at the start of another image."""
        self.layers.clear()

    def words(
        self, name: str, *, step: int, grids: dict[int, Grid], groups: torch.Tensor, columns: int, rows: slice
    ) -> "LayerTap":
        """What a cross-attention layer is to record in one denoiser call; see :class:`LayerTap`."""
        return LayerTap(self, name, step, grids, groups, columns, rows)

    def places(
        self,
        name: str,
        *,
        step: int,
        grids: dict[int, Grid],
        patches: Sequence[tuple[float, float]],
        rows: slice,
        device: torch.device,
    ) -> "PatchTap":
        """What a self-attention layer is to record in one denoiser call; see :class:`PatchTap`."""
        return PatchTap(self, name, step, grids, patches, rows, device)

    def tap(self, name: str, grid: Grid, step: int, shape: tuple[int, int, int], device: torch.device) -> torch.Tensor:
        """The buffer that the core adds to in place during this call of this layer.

        Float32 of the given shape `[image, query, column]`, or with `per_head` `[image, head, query, column]`.
        """
        sums = self.layers.setdefault(name, _Layer(grid)).sums
        # With per_step the whole is the sum of the steps, so each call is written once, into its own step.
        key = step if self.per_step else _ALL
        if key not in sums:
            images, *rest = shape
            whole = shape if self.per_head is None else (images, self._kept_heads(name), *rest)
            sums[key] = _Sum(torch.zeros(whole, dtype=torch.float32, device=device))
        sums[key].calls += 1
        return sums[key].total

    def mean(self, name: str) -> torch.Tensor:
        """Mean over the recorded denoiser calls and heads, float32 `[image, query, column]`."""
        return _over_heads(self._mean(name))

    def heads_of(self, name: str) -> torch.Tensor | None:
        """Mean over the recorded denoiser calls, float32 `[image, head, query, column]`; None unless `per_head`."""
        return None if self.per_head is None else self._mean(name)

    def steps(self, name: str) -> dict[int, torch.Tensor]:
        """Mean of every recorded step over heads, by step number; empty unless `per_step`."""
        sums = sorted(self.layers[name].sums.items())
        return {step: _over_heads(part.mean()) for step, part in sums if step != _ALL}

    def _mean(self, name: str) -> torch.Tensor:
        parts = self.layers[name].sums.values()
        return torch.stack([part.total for part in parts]).sum(0) / sum(part.calls for part in parts)

    def _kept_heads(self, name: str) -> int:
        assert self.per_head is not None
        return self.per_head[name] if self.heads is None else len(self.heads)


def _over_heads(mass: torch.Tensor) -> torch.Tensor:
    """`[image, (head,) query, column]` to `[image, query, column]`."""
    return mass.mean(dim=1) if mass.ndim == 4 else mass


@dataclass
class LayerTap:
    """What one cross-attention layer records in one denoiser call; asked by the layer's site with its query count.

    Attributes:
        groups: int64 `[image, key]`: the column that each text row is summed into, -1 for none.
        rows: the batch rows that hold the images.
    """

    recorder: Recorder
    name: str
    step: int
    grids: dict[int, Grid]
    groups: torch.Tensor
    columns: int
    rows: slice

    def __call__(self, queries: int) -> Columns | None:
        grid = self.grids.get(queries)
        if grid is None:
            return None
        images, keys = self.groups.shape
        device = self.groups.device
        return Columns(
            index=torch.arange(keys, device=device),
            groups=self.groups,
            n_groups=self.columns,
            heads=self.recorder.heads,
            reduce="mean" if self.recorder.per_head is None else "none",
            batch_rows=self.rows,
            into=self.recorder.tap(self.name, grid, self.step, (images, queries, self.columns), device),
        )


@dataclass
class PatchTap:
    """What one self-attention layer records: how much every place attends to each picked patch of the image."""

    recorder: Recorder
    name: str
    step: int
    grids: dict[int, Grid]
    patches: Sequence[tuple[float, float]]
    rows: slice
    device: torch.device

    def __call__(self, queries: int) -> Columns | None:
        grid = self.grids.get(queries)
        if grid is None:
            return None
        height, width = grid
        places = [int(row * height) * width + int(column * width) for row, column in self.patches]
        shape = (self.rows.stop - self.rows.start, queries, len(places))
        return Columns(
            index=torch.tensor(places, device=self.device),
            heads=self.recorder.heads,
            batch_rows=self.rows,
            into=self.recorder.tap(self.name, grid, self.step, shape, self.device),
        )
