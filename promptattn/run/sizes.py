"""Sizes of pictures, in pixels and in latents."""

import inspect
from typing import Any

import torch

from promptattn.denoisers import denoiser_of
from promptattn.errors import ConfigError
from promptattn.places import Grid

__all__ = ["as_asked", "image_size", "latent_size", "pixels_per_latent"]


def as_asked(pipe: Any) -> dict[str, bool]:
    """Arguments by which a pipeline makes a picture of the very size asked for.

    PixArt's by default makes one of the nearest size that it was trained on, scales it and crops it, and then maps of
    the whole do not lie on what is left.
    """
    takes = inspect.signature(type(pipe).__call__).parameters
    return {"use_resolution_binning": False} if "use_resolution_binning" in takes else {}


def image_size(pipe: Any, latents: Grid) -> tuple[int, int]:
    """(height, width) in pixels of the picture that is made of latents of this (height, width)."""
    scale = pixels_per_latent(pipe)
    return latents[0] * scale, latents[1] * scale


def latent_size(pipe: Any, height: int | None, width: int | None) -> Grid:
    """(height, width) of the latents of a picture of so many pixels; None is what the pipeline makes unless told.

    Raises:
        ConfigError: where that cannot be told.
    """
    scale = pixels_per_latent(pipe)
    if height is not None and width is not None:
        return height // scale, width // scale
    usual = getattr(pipe, "default_sample_size", None) or getattr(denoiser_of(pipe).config, "sample_size", None)
    if usual is None:
        raise ConfigError(f"{type(pipe).__name__} does not tell what size its pictures have: give height and width.")
    rows, columns = (usual, usual) if isinstance(usual, int) else usual
    return rows if height is None else height // scale, columns if width is None else width // scale


def pixels_per_latent(pipe: Any) -> int:
    """The side, in pixels, of what one latent stands for; a pipeline that decodes nothing makes its picture itself."""
    decodes = any(hasattr(part, "decode") for part in pipe.components.values() if isinstance(part, torch.nn.Module))
    return int(getattr(pipe, "vae_scale_factor", 8 if decodes else 1))
