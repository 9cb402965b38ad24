"""The grid of image places that each layer of a denoiser sees, told before it is called."""

from collections.abc import Iterable, Iterator, Sequence

import torch

from promptattn.places import Grid

__all__ = ["layer_grids"]


def layer_grids(denoiser: torch.nn.Module, names: Iterable[str], grids: Sequence[Grid]) -> dict[str, Grid]:
    """The grid of each layer.

    A UNet's blocks follow one another, and some halve the grid or double it behind them. Where a denoiser is built in
    another way and has several grids, a layer is taken to see the finest.

    grids: (height, width) of all that its layers may see, the finest first, each half of the one before.
    """
    levels = dict(_levels(denoiser)) if len(grids) > 1 else {}
    found = {}
    for name in names:
        level = next((level for block, level in levels.items() if name.startswith(f"{block}.")), 0)
        found[name] = grids[min(level, len(grids) - 1)]
    return found


def _levels(denoiser: torch.nn.Module) -> Iterator[tuple[str, int]]:
    """Each block of a UNet by name, and how often the grid was halved before it."""
    level = 0
    for at, block in enumerate(getattr(denoiser, "down_blocks", ())):
        yield f"down_blocks.{at}", level
        level += getattr(block, "downsamplers", None) is not None
    yield "mid_block", level
    for at, block in enumerate(getattr(denoiser, "up_blocks", ())):
        yield f"up_blocks.{at}", level
        level -= getattr(block, "upsamplers", None) is not None
