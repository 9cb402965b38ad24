"""Times that can be compared on a machine that does other things too: every round runs all the variants once."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

__all__ = ["Clock", "Ratio", "Timings", "interleave", "median_interval"]

Clock = Literal["wall", "processor"]
_CLOCKS: dict[Clock, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True)
class Ratio:
    """How much longer one variant takes than another.

    minimum: of the shortest times of the two.
    median: of the ratios within the rounds; low, high: the bounds of its interval (see `median_interval`).
    confidence: of that interval; less than 0.95 where there were too few rounds.
    rounds: how many there were.
    """

    minimum: float
    median: float
    low: float
    high: float
    confidence: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}], shortest {self.minimum:.3f}"


@dataclass(frozen=True)
class Timings:
    """seconds: by variant, of each round."""

    seconds: Mapping[str, Sequence[float]]

    def ratio(self, variant: str, to: str) -> Ratio:
        """The time of a variant relative to another's in the same round."""
        ours, theirs = self.seconds[variant], self.seconds[to]
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        low, high, confidence = median_interval(ratios)
        return Ratio(min(ours) / min(theirs), statistics.median(ratios), low, high, confidence, len(ratios))


def interleave(
    variants: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    device: str = "cpu",
    clock: Clock = "wall",
    minutes: float = math.inf,
    after: Callable[[str, object], None] | None = None,
    told: Callable[[int], None] | None = None,
) -> Timings:
    """Time every variant once in each round, after one round that is not counted.

    Rounds run forward and backward by turns, so that neither a drift of the machine's speed nor what a variant leaves
    in its caches always falls upon the same one.

    clock: time on the `wall`, or what the `processor` spent on this process, all its threads together, which is next to
        blind to what else the machine does. A thread that waits for another spends time too, so use one.
    minutes: no further round begins after so long, so that there may be fewer.
    after: called with each variant's name and result, outside the time taken; checks belong there.
    told: called with the number of each round that is done.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    begun = time.monotonic()
    for number in range(rounds + 1):
        if number > 1 and time.monotonic() - begun > 60 * minutes:
            break
        order = list(variants) if number % 2 else list(reversed(variants))
        for name in order:
            taken, result = _timed(variants[name], device, _CLOCKS[clock])
            if number:
                seconds[name].append(taken)
            if after is not None:
                after(name, result)
        if number and told is not None:
            told(number)
    return Timings(seconds)


def _timed(call: Callable[[], object], device: str, clock: Callable[[], float]) -> tuple[float, object]:
    _finish(device)
    start = clock()
    result = call()
    _finish(device)
    return clock() - start, result


def _finish(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Bounds of the median of what the values are drawn from, and how surely it lies between them.

    The narrowest pair of order statistics x_(k), x_(n+1-k) that holds the median with at least this probability,
    1 - 2 P(B < k) for B binomial(n, 1/2), whatever the distribution (Conover, Practical Nonparametric Statistics,
    section 3.2). With fewer than 6 values that is the whole range, which holds it less surely.
    """
    ordered, count = sorted(values), len(values)
    below = [0.0]  # P(B < k) for k = 0, 1 ...
    for k in range(count // 2 + 1):
        below.append(below[-1] + math.comb(count, k) / 2**count)
    k = max((k for k in range(1, count // 2 + 1) if 1 - 2 * below[k] >= confidence), default=1)
    return ordered[k - 1], ordered[count - k], 1 - 2 * below[k] if count > 1 else 0.0
