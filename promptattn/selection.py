"""Choosing layers by name and steps by number or share; one notation for weighting and for capture."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from numbers import Integral

from promptattn.errors import ConfigError

__all__ = ["Steps", "check_steps", "in_steps", "match_layers"]

Steps = tuple[int, int] | tuple[float, float] | Collection[int] | None
"""`(start, stop)`: step numbers from 0 when both are int (stop excluded), shares of the run when both are float.
Any other collection of ints (a range, list or set) names the steps one by one. None is every step."""


def check_steps(steps: Steps, option: str) -> None:
    """Raise ConfigError when `steps` cannot be a selection; `option` names it in the message."""
    if steps is None:
        return
    hint = f"{option} takes (start, stop) as step numbers or as shares like (0.0, 0.4), or a range or list of steps"
    if isinstance(steps, tuple) and len(steps) == 2:
        start, stop = steps
        if not start < stop or start < 0 or (isinstance(stop, float) and stop > 1):
            raise ConfigError(f"{option}={steps!r} selects no step; {hint}.")
    elif not isinstance(steps, Collection) or len(steps) == 0 or not all(map(_is_step, steps)):
        raise ConfigError(f"{option}={steps!r} is not a selection of steps; {hint}.")


def _is_step(step: object) -> bool:
    return isinstance(step, Integral) and int(step) >= 0


def in_steps(steps: Steps, step: int, total: int) -> bool:
    """Whether step `step` (from 0) of `total` is selected. A share s stands for the steps from s * total on."""
    if steps is None:
        return True
    if isinstance(steps, tuple) and len(steps) == 2:
        start, stop = steps
        if isinstance(start, float) or isinstance(stop, float):
            return start * total <= step < stop * total
        return start <= step < stop
    return step in steps


def match_layers(
    names: Sequence[str], patterns: Sequence[str] | str | None, option: str, *, kind: str = "attention layer"
) -> list[str]:
    """The layer names that any pattern selects: a name, the start of one (`up_blocks.1`), or a glob (`*attn2`).

    Raises:
        ConfigError: when a pattern selects nothing; the message names the nearest layers.
    """
    if patterns is None:
        return list(names)
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    chosen: set[str] = set()
    for pattern in patterns:
        matched = {n for n in names if n == pattern or n.startswith(pattern + ".") or fnmatchcase(n, pattern)}
        if not matched:
            near = get_close_matches(pattern, names, n=3, cutoff=0.1) or list(names)[:3]
            raise ConfigError(f"{option}: no {kind} is called {pattern!r}; near it are {', '.join(near)}.")
        chosen |= matched
    return [name for name in names if name in chosen]
