"""Where text and image sit in each denoiser: one short declarative entry per class."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from promptattn.errors import UnsupportedModelError

__all__ = ["LAYOUTS", "DenoiserCall", "Layout", "layout_of"]

Grid = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """How one denoiser class takes its text and its image.

    Attributes:
        text: name of the forward argument that holds the text embeddings, `[batch, token, channel]`.
        sample: name of the forward argument that holds the latents, `[batch, channel, height, width]`.
        timestep: name of the forward argument that holds the timestep.
        grids: from the latents' (height, width) to every grid that an attention layer may see.
        negative_first: whether guidance puts the rows of the negative prompt before those of the prompt.
    """

    text: str
    sample: str
    timestep: str
    grids: Callable[[Grid], list[Grid]]
    negative_first: bool = True

    def read(self, denoiser: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "DenoiserCall":
        """The arguments of one forward call, wherever they stood."""
        bound = inspect.signature(denoiser.forward).bind_partial(*args, **kwargs).arguments
        text, sample = bound.get(self.text), bound.get(self.sample)
        if not isinstance(text, torch.Tensor) or not isinstance(sample, torch.Tensor):
            raise UnsupportedModelError(
                f"{type(denoiser).__name__} was called without {self.text!r} or {self.sample!r} as tensors, so text"
                " rows and image grid cannot be told."
            )
        return DenoiserCall(
            text=text,
            size=(int(sample.shape[-2]), int(sample.shape[-1])),
            timestep=bound.get(self.timestep),
            grids={
                height * width: (height, width) for height, width in self.grids((sample.shape[-2], sample.shape[-1]))
            },
        )


@dataclass(frozen=True)
class DenoiserCall:
    """One forward call of a denoiser. `size` is (height, width) of its latents; `timestep` is as it was given; `grids`
    maps a number of image tokens to the (height, width) it stands for."""

    text: torch.Tensor
    size: Grid
    timestep: Any
    grids: dict[int, Grid]


def _halvings(size: Grid) -> list[Grid]:
    """The grids of a UNet's levels: each downsampling convolution (stride 2, padding 1) gives the half, rounded up."""
    grids = [size]
    while max(grids[-1]) > 1:
        height, width = grids[-1]
        grids.append(((height + 1) // 2, (width + 1) // 2))
    return grids


LAYOUTS: dict[str, Layout] = {
    "UNet2DConditionModel": Layout(
        text="encoder_hidden_states", sample="sample", timestep="timestep", grids=_halvings, negative_first=True
    ),
}


def layout_of(denoiser: torch.nn.Module) -> Layout:
    """The layout of a denoiser, by the name of its class or of a class it derives from.

    Raises:
        UnsupportedModelError: for a class that the table does not know; the message lists those it knows.
    """
    for cls in type(denoiser).__mro__:
        if layout := LAYOUTS.get(cls.__name__):
            return layout
    raise UnsupportedModelError(
        f"{type(denoiser).__name__} is not a denoiser that promptattn knows yet; it knows {', '.join(sorted(LAYOUTS))}."
    )
