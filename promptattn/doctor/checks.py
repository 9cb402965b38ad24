"""One thing that was looked at, and what was found."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "State", "guarded", "install"]

# Packages that are called otherwise than the module they hold.
_PACKAGES = {"PIL": "Pillow", "yaml": "PyYAML"}

State = Literal["fine", "absent", "broken"]
"""`absent` is what is not here and need not be; `broken` is what promptattn cannot do without, or does not work."""


@dataclass(frozen=True)
class Check:
    """What was found of one thing.

    Attributes:
        group: what it belongs to, such as `packages`.
        name: of the thing.
        state: whether it is as it should be.
        found: a version, an amount, or what is wrong.
        advice: what to do, where something is to be done.
    """

    group: str
    name: str
    state: State
    found: str
    advice: str = ""


def install(error: ImportError) -> str:
    """How to get the module that an import did not find."""
    missing = (error.name or str(error)).partition(".")[0]
    return f"pip install {_PACKAGES.get(missing, missing)}"


def guarded(group: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The checks of `look`; where it cannot go on, that it could not, and why."""
    try:
        yield from look()
    except ImportError as error:
        yield Check(group, group, "broken", f"cannot be looked at: {error}", install(error))
    # The doctor is asked where things are broken, in whatever way: it tells of it and goes on.
    except Exception as error:
        yield Check(group, group, "broken", f"cannot be looked at: {type(error).__name__}: {error}")
