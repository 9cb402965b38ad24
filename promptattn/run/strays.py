"""Steps that an image goes on with another text than that of its run, as a callback may make it."""

from typing import Any

__all__ = ["Strays"]


class Strays:
    """Which steps of an image read this run's text, and which another; told apart by how often its scheduler stepped.

    Images that are made of other texts from the start are not meant: two runs may share a denoiser.
    """

    def __init__(self) -> None:
        self._schedule: Any = None
        self._own: set[int] = set()
        self._foreign: set[int] = set()
        self._found: tuple[int, int] | None = None

    def see(self, schedule: Any, taken: int, *, own: bool) -> None:
        """Take note of a denoiser call.

        schedule: the scheduler's timesteps; every image has its own.
        taken: how often that scheduler has been asked to step so far.
        """
        if schedule is not self._schedule:
            self._close()
            self._schedule = schedule
        (self._own if own else self._foreign).add(taken)

    @property
    def lost(self) -> tuple[int, int] | None:
        """Of an image that strayed, how many steps had another text and how many this run's; None for none."""
        self._close()
        return self._found

    def _close(self) -> None:
        if self._own and self._schedule is not None:
            # Beyond the schedule's end it is another pipeline that calls the same denoiser.
            end = min(self._own) + len(self._schedule)
            if lost := sum(min(self._own) < taken < end for taken in self._foreign - self._own):
                self._found = lost, len(self._own)
        self._own, self._foreign = set(), set()
