"""How far a process is with all of its lines, told in steps."""

from collections.abc import Callable, Sequence
from itertools import accumulate

from promptattn.batch.grouping import Group

__all__ = ["Pace"]

OnStep = Callable[[int, int], None]


class Pace:
    """Counts the steps of all images, so that what is left is told in the same measure as what is done.

    Args:
        step: told (steps done, steps in all).
        groups: the calls to be made.
        usual: steps of a line that does not say how many.
    """

    def __init__(self, step: OnStep | None, groups: Sequence[Group], usual: int) -> None:
        self._step = step
        weights = [sum(item.config.images * (item.config.steps or usual) for item in group) for group in groups]
        self._ends = list(accumulate(weights, initial=0))
        self._told = 0

    def within(self, number: int) -> OnStep | None:
        """What the call for the group of this number is to tell its own steps; they go on after those before it."""
        if self._step is None:
            return None
        begin, end = self._ends[number : number + 2]
        return lambda done, total: self._tell(begin + (end - begin) * min(done, total) // max(total, 1))

    def after(self, number: int) -> None:
        """To be told when the group of this number is done, however many steps it has taken."""
        self._tell(self._ends[number + 1])

    def _tell(self, done: int) -> None:
        # A call that failed is repeated line by line: the same steps once more, and none of them a step back.
        self._told = max(self._told, done)
        if self._step is not None:
            self._step(self._told, self._ends[-1])
