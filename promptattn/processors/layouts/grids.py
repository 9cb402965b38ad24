"""From the size of the latents to the grids of image rows that attention layers see, the finest first."""

from typing import Any

from promptattn.places import Grid

__all__ = ["first_patches", "halvings", "oblong_patches", "packed", "patches", "patches_of_frame", "whole"]


def halvings(size: Grid, config: Any) -> list[Grid]:
    """The grids of a UNet's levels: each downsampling convolution (stride 2, padding 1) gives the half, rounded up."""
    grids = [size]
    while max(grids[-1]) > 1:
        height, width = grids[-1]
        grids.append(((height + 1) // 2, (width + 1) // 2))
    return grids


def patches(size: Grid, config: Any) -> list[Grid]:
    """The one grid of a transformer that cuts its latents into square patches."""
    return [(size[0] // config.patch_size, size[1] // config.patch_size)]


def patches_of_frame(size: Grid, config: Any) -> list[Grid]:
    """Likewise of one whose patches are those of a video: (frames, height, width)."""
    _, height, width = config.patch_size
    return [(size[0] // height, size[1] // width)]


def packed(size: Grid, config: Any) -> list[Grid]:
    """The one grid of a transformer whose pipelines pack latents two by two."""
    return [(size[0] // 2, size[1] // 2)]


def oblong_patches(size: Grid, config: Any) -> list[Grid]:
    """The one grid of a transformer whose patches have a height and a width."""
    height, width = config.patch_size
    return [(size[0] // height, size[1] // width)]


def first_patches(size: Grid, config: Any) -> list[Grid]:
    """The one grid of a transformer that knows several sizes of patches, of which the first is used unless said."""
    side = config.all_patch_size[0]
    return [(size[0] // side, size[1] // side)]


def whole(size: Grid, config: Any) -> list[Grid]:
    """The one grid of a transformer that takes each latent pixel as a place."""
    return [size]
