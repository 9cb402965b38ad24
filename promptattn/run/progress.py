"""Telling how far several runs in a row are."""

from collections.abc import Callable

__all__ = ["overall"]


def overall(on_step: Callable[[int, int], None] | None, run: int, runs: int) -> Callable[[int, int], None] | None:
    """`on_step` for the run number `run` of `runs`: its steps are counted over all of them."""
    if on_step is None:
        return None
    return lambda done, total: on_step(run * total + done, runs * total)
