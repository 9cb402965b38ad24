"""Warnings that point to the user's own line, from however deep inside a pipeline call they come."""

import sys
import warnings

from promptattn.errors import PromptAttnWarning

__all__ = ["tell"]

_BETWEEN = frozenset({"accelerate", "contextlib", "diffusers", "functools", "promptattn", "torch", "transformers"})


def tell(message: str) -> None:
    """Warn at the innermost line that is neither promptattn's nor of the libraries that called it."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, PromptAttnWarning, stacklevel=level)
