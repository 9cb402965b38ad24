"""Who runs next: first come, first served, one run at a time, and no more of them waiting than allowed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, Event

from promptattn.errors import ConfigError

__all__ = ["Stopped", "Turns"]

_LOOK = 0.25  # seconds: how soon somebody who waits and is stopped, or whose page is closed, makes room


class Stopped(Exception):
    """The person who asked for a run does not want it any more."""


class Turns:
    """One run at a time, whatever its pipeline: two at once would share one device, so that each takes twice as long,
    and both may not fit into memory where either does.

    Args:
        most: how many may wait beside the one that runs.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = Condition()
        self._line: list[object] = []  # the first runs, the others wait

    @contextmanager
    def taken(self, stopped: Event, on_wait: Callable[[int], None]) -> Iterator[None]:
        """Wait for a turn, and have it until the context is left.

        Args:
            stopped: set when the turn is not wanted any more.
            on_wait: called with the number of runs that come before, at first and whenever it has changed.

        Raises:
            ConfigError: at once, when too many wait already.
            Stopped: when `stopped` is set before the turn has come.
        """
        turn = object()
        with self._changed:
            if len(self._line) > self._most:
                raise ConfigError(
                    f"{_runs(self._most)} waiting already, which is as many as may wait. Nothing was started: try again"
                    " in a few minutes. Whoever starts the app can let more wait:"
                    f" promptattn app --queue {2 * self._most}"
                )
            self._line.append(turn)
        try:
            self._wait(turn, stopped, on_wait)
            yield
        finally:
            with self._changed:
                self._line.remove(turn)
                self._changed.notify_all()

    def _wait(self, turn: object, stopped: Event, on_wait: Callable[[int], None]) -> None:
        told = 0
        while True:
            with self._changed:
                before = self._line.index(turn)
                if stopped.is_set():
                    raise Stopped
                if before == 0:
                    return
                if before == told:
                    self._changed.wait(_LOOK)
                    continue
            on_wait(before)  # outside of the lock: it may take its time
            told = before


def _runs(number: int) -> str:
    return "1 run is" if number == 1 else f"{number} runs are"
