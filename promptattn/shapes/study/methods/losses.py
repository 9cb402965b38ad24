"""Where the default method is worse than another: printed as such."""

from collections.abc import Iterable

from promptattn.shapes.study.methods.contests import Contest
from promptattn.shapes.study.methods.fronts import Front
from promptattn.shapes.study.wording import shown

__all__ = ["OURS", "losses"]

OURS = "attention"
"""The default, and what this project adds to what there was."""


def losses(contests: Iterable[Contest], fronts: Iterable[Front], method: str = OURS) -> list[str]:
    """One line for each question at which the method is behind another beyond what chance explains."""
    lost = [line for contest in contests if (line := _behind(contest, method))]
    for each in fronts:
        line = _behind(each.sides, method) or _unreached(each, method)
        if line:
            lost.append(line)
    return lost


def _behind(contest: Contest, method: str) -> str:
    behind = contest.behind(method)
    if not behind:
        return ""
    best, (by, low, high) = next(iter(behind.items()))
    values = [shown(contest.measure, contest.value(each)) for each in (method, best)]
    rest = [other for other in behind if other != best]
    also = f"; also worse than {', '.join(rest)}" if rest else ""
    by, low, high = (shown(contest.measure, each) for each in (by, low, high))  # type: ignore[assignment]
    return (
        f"{contest.question}: {values[0]} against {values[1]} of {best}: worse than {best} by {by} ({low} to {high})"
        f"{also}"
    )


def _unreached(front: Front, method: str) -> str:
    if method not in front.sides.answers or front.sides.value(method) is not None:
        return ""
    others = [other for other in front.sides.answers if front.sides.value(other) is not None]
    return f"{front.sides.question}: no weight of {method} is that strong; {', '.join(others)} can" if others else ""
