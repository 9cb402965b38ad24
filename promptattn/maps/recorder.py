"""Accumulators on the device: running sums of attention columns, one small buffer per layer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from promptattn.core import Columns

__all__ = ["LayerTap", "PatchTap", "Recorder"]

Grid = tuple[int, int]


@dataclass
class _Sum:
    """A running sum float32 `[image, query, column]` and the number of denoiser calls in it."""

    total: torch.Tensor | None = None
    calls: int = 0

    def mean(self) -> torch.Tensor | None:
        return None if self.total is None or not self.calls else self.total / self.calls


@dataclass
class _Layer:
    grid: Grid = (0, 0)
    over_steps: _Sum = field(default_factory=_Sum)
    by_step: dict[int, _Sum] = field(default_factory=dict)


class Recorder:
    """Collects one kind of columns from many layers; memory does not grow with steps unless `per_step`.

    Args:
        heads: the heads to average over, or None for all.
        per_step: keep every step apart too.
    """

    def __init__(self, *, heads: Sequence[int] | None = None, per_step: bool = False) -> None:
        self.heads = None if heads is None else tuple(heads)
        self.per_step = per_step
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
        """The buffer float32 `[image, query, column]` that the core adds to in place during this call of this layer."""
        layer = self.layers.setdefault(name, _Layer())
        layer.grid = grid
        # With per_step the whole is the sum of the steps, so each call is written once, into its own step.
        target = layer.by_step.setdefault(step, _Sum()) if self.per_step else layer.over_steps
        if target.total is None:
            target.total = torch.zeros(shape, dtype=torch.float32, device=device)
        target.calls += 1
        return target.total

    def mean(self, name: str) -> torch.Tensor | None:
        """Mean over the recorded denoiser calls, float32 `[image, query, column]`."""
        layer = self.layers[name]
        if not self.per_step:
            return layer.over_steps.mean()
        parts = [part for part in layer.by_step.values() if part.total is not None]
        if not parts:
            return None
        return torch.stack([part.total for part in parts if part.total is not None]).sum(0) / sum(
            part.calls for part in parts
        )

    def steps(self, name: str) -> dict[int, torch.Tensor]:
        """Mean of every recorded step, by step number; empty unless `per_step`."""
        means = {step: part.mean() for step, part in sorted(self.layers[name].by_step.items())}
        return {step: mean for step, mean in means.items() if mean is not None}


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
