"""One question put to all methods, answered over the same scenes and the same bootstrap draws."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptattn.shapes.study.statistics import Array, Estimate, mean, ratio_of_sums

__all__ = ["Contest", "sampled"]


def sampled(values: Array, drawn: NDArray[np.intp], base: Array | None = None) -> Array:
    """The mean of `[scene]` values, or the ratio of their sum to that of `base`: over all scenes, then over each draw,
    `[1 + draw]`."""
    if base is None:
        return np.append(mean(values), mean(values[drawn]))
    return np.append(ratio_of_sums(values, base), ratio_of_sums(values[drawn], base[drawn]))


@dataclass(frozen=True)
class Contest:
    """A question and the methods' answers.

    Attributes:
        question: what was asked, as a title.
        measure: what the answers are numbers of, for `wording.shown`.
        answers: for each method `[1 + draw]`, as `sampled` gives them; nan where it has none.
        more: whether more is better.
    """

    question: str
    measure: str
    answers: Mapping[str, Array]
    more: bool

    def value(self, method: str) -> float | None:
        """The method's answer over all scenes; None where it has none."""
        answer = self.answers.get(method)
        return None if answer is None or not np.isfinite(answer[0]) else float(answer[0])

    def estimate(self, method: str) -> Estimate | None:
        """The answer with its interval, over the draws that have one."""
        return None if self.value(method) is None else _estimate(self.answers[method])

    def behind(self, method: str) -> dict[str, Estimate]:
        """By how much the method is worse than others, for those where the interval of the paired difference is above
        0, the largest difference first."""
        if self.value(method) is None:
            return {}
        ours = self.answers[method]
        found = {}
        for other in self.answers:
            if other != method and self.value(other) is not None:
                difference = _estimate((self.answers[other] - ours) * (1 if self.more else -1))
                if difference is not None and difference[1] > 0:
                    found[other] = difference
        return dict(sorted(found.items(), key=lambda each: -each[1][0]))

    def leaders(self) -> tuple[str, ...]:
        """The methods that are not clearly worse than the best, the best first."""
        known = {method: value for method in self.answers if (value := self.value(method)) is not None}
        ranked = sorted(known, key=lambda method: -known[method] if self.more else known[method])
        return tuple(method for method in ranked if ranked[0] not in self.behind(method))


def _estimate(answer: Array) -> Estimate | None:
    drawn = answer[1:][np.isfinite(answer[1:])]
    if not drawn.size or not np.isfinite(answer[0]):
        return None
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(answer[0]), float(low), float(high)
