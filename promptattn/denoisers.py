"""The denoiser of a pipeline, whatever it is called there and however it was compiled."""

from typing import Any

__all__ = ["denoiser_of"]


def denoiser_of(pipe: Any) -> Any:
    """A pipeline's UNet or transformer itself, also where torch.compile returned another module for it; None for none.

    Never `a or b`: what torch.compile returns asks its module for a length.
    """
    found = getattr(pipe, "unet", None)
    if found is None:
        found = getattr(pipe, "transformer", None)
    return getattr(found, "_orig_mod", found)
