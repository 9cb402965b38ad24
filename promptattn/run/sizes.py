"""Pictures of the size that is asked for."""

import inspect
from typing import Any

__all__ = ["as_asked"]


def as_asked(pipe: Any) -> dict[str, bool]:
    """Arguments by which a pipeline makes a picture of the very size asked for.

    PixArt's by default makes one of the nearest size that it was trained on, scales it and crops it, and then maps of
    the whole do not lie on what is left.
    """
    takes = inspect.signature(type(pipe).__call__).parameters
    return {"use_resolution_binning": False} if "use_resolution_binning" in takes else {}
