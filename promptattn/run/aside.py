"""Calls of a denoiser that are nobody's run: those by which it is probed. Runs that are open meanwhile look away."""

from collections.abc import Iterator, MutableSet
from contextlib import contextmanager
from weakref import WeakSet

import torch

__all__ = ["aside", "is_aside"]

_probed: MutableSet[torch.nn.Module] = WeakSet()


@contextmanager
def aside(denoiser: torch.nn.Module) -> Iterator[None]:
    """While open, only runs that are entered meanwhile follow this denoiser; not to be nested."""
    _probed.add(denoiser)
    try:
        yield
    finally:
        _probed.discard(denoiser)


def is_aside(denoiser: torch.nn.Module) -> bool:
    """Whether calls of this denoiser are made aside now."""
    return denoiser in _probed
