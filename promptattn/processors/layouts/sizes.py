"""The size of the picture that is made, in latent pixels, from the arguments of a denoiser's forward call by name."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from promptattn.errors import UnsupportedModelError
from promptattn.places import Grid

__all__ = [
    "of_frame",
    "of_joint_positions",
    "of_latents",
    "of_list",
    "of_packed_latents",
    "of_positions",
    "of_sample",
    "of_shapes",
    "of_target_shape",
]


def of_sample(arguments: Mapping[str, Any]) -> Grid:
    height, width = arguments["sample"].shape[-2:]
    return int(height), int(width)


def of_latents(arguments: Mapping[str, Any]) -> Grid:
    height, width = arguments["hidden_states"].shape[-2:]
    return int(height), int(width)


def of_packed_latents(arguments: Mapping[str, Any]) -> Grid:
    """Of `[batch, channel, height, width]` whose channels hold two latent pixels by two."""
    height, width = of_latents(arguments)
    return 2 * height, 2 * width


def of_list(arguments: Mapping[str, Any]) -> Grid:
    """Of a list `x` with the latents of each image, `[channel, frame, height, width]`."""
    height, width = arguments["x"][0].shape[-2:]
    return int(height), int(width)


def of_frame(arguments: Mapping[str, Any]) -> Grid:
    """Of latents `[batch, frame, height, width, channel]`, those of a video, of which a picture is one frame.

    Raises:
        UnsupportedModelError: for sparse attention, which puts image rows in another order.
    """
    if arguments.get("sparse_params") is not None:
        raise UnsupportedModelError(
            "the denoiser attends sparsely (sparse_params), and puts the rows of its image in another order for it, so"
            " no map can be placed; load it with full attention."
        )
    height, width = arguments["hidden_states"].shape[2:4]
    return int(height), int(width)


def of_positions(arguments: Mapping[str, Any], name: str = "img_ids") -> Grid:
    """From the position (image, row, column) of every row of latents that are packed two by two.

    Rows of the first image are those of the picture that is made; others are reference pictures.
    """
    return _packed_grid(arguments[name], 0)


def of_joint_positions(arguments: Mapping[str, Any]) -> Grid:
    """Likewise, of every row of text and image, the text's first."""
    return _packed_grid(arguments["position_ids"], int(arguments["encoder_hidden_states"].shape[1]))


def of_shapes(arguments: Mapping[str, Any]) -> Grid:
    """From `img_shapes`, for each row (frames, height, width) of the pictures whose places its latents are; the first
    is the one that is made. Latents are packed two by two."""
    shapes = arguments["img_shapes"][0]
    _, height, width = shapes[0] if isinstance(shapes, list) else shapes
    return 2 * height, 2 * width


def of_target_shape(arguments: Mapping[str, Any]) -> Grid:
    """Likewise where the picture that is made is the last, and latents are not packed."""
    _, height, width = arguments["img_shapes"][0][-1]
    return int(height), int(width)


_known_positions: MutableMapping[torch.Tensor, Grid] = WeakIdKeyDictionary()


def _packed_grid(ids: torch.Tensor, first: int) -> Grid:
    # One tensor serves all steps, and reading it waits for the device.
    if ids not in _known_positions:
        _known_positions[ids] = _grid_of((ids[0] if ids.ndim == 3 else ids)[first:])
    height, width = _known_positions[ids]
    return 2 * height, 2 * width


def _grid_of(ids: torch.Tensor) -> Grid:
    own = ids[ids[:, 0] == ids[0, 0]]
    corners = own[:, 1:3].amin(dim=0), own[:, 1:3].amax(dim=0)
    height, width = (corners[1] - corners[0] + 1).int().tolist()
    if height * width != len(own):
        raise UnsupportedModelError(
            f"the denoiser was given {len(own)} positions for a grid of {height} x {width}, so its rows cannot be"
            " placed."
        )
    return height, width
