"""What a run of the page may ask for, so that one person's number does not keep all others waiting for hours."""

import random
from dataclasses import replace
from math import inf

from promptattn.app.offered import suited
from promptattn.app.runs import Wish
from promptattn.errors import ConfigError

__all__ = ["MOST_STEPS", "MOST_TEXT", "bounded", "most_side", "new_seed", "settled"]

MOST_TEXT = 10_000
"""Characters of one prompt."""

MOST_STEPS = 1000
"""Steps of one run, as many as models are trained with."""

_LARGEST_DRAWN = 2**31 - 1
_LARGEST_SEED = 2**53 - 1  # beyond it JavaScript has no whole numbers, so that another seed would come than was typed
_MOST_GUIDANCE = 100
_TIMES_AS_WIDE = 4
_USUAL_SIDE = 512


def settled(wish: Wish) -> Wish:
    """The wish with a seed, drawn where none is wanted in particular (none, or -1 as elsewhere).

    Raises:
        ConfigError: naming the control whose value cannot be.
    """
    seed = new_seed() if wish.seed in (None, -1) else wish.seed
    side = most_side(wish.model)
    if wish.guidance is not None and not 0 <= wish.guidance <= _MOST_GUIDANCE:
        raise ConfigError(f"Guidance is a number from 0 to {_MOST_GUIDANCE}, and not {wish.guidance:g}.")
    if not _is_exponent(wish.strength):
        raise ConfigError(f'Exponent on weights is a number above 0, or "exact", and not {wish.strength}.')
    bounded(wish.negative, "negative prompt")
    return replace(
        wish,
        seed=_whole("Seed", seed, 0, _LARGEST_SEED),
        steps=_whole("Steps", wish.steps, 1, MOST_STEPS),
        width=_whole("Width", wish.width, 1, side),
        height=_whole("Height", wish.height, 1, side),
    )


def new_seed() -> int:
    """A seed, drawn."""
    return random.randint(0, _LARGEST_DRAWN)


def most_side(model: str) -> int:
    """Pixels of a side at most: a step of a larger image takes so long that it could not be stopped."""
    best = suited(model)
    return _TIMES_AS_WIDE * max(best.height or _USUAL_SIDE, best.width or _USUAL_SIDE)


def bounded(text: str | None, what: str = "prompt") -> str:
    """The text of a prompt; a browser keeps to the length that the box allows, and other clients need not."""
    if len(text or "") > MOST_TEXT:
        raise ConfigError(f"The {what} has {len(text or '')} characters; {MOST_TEXT} are read at most.")
    return text or ""


def _is_exponent(value: float | str | None) -> bool:
    return value is None or value == "exact" or (isinstance(value, float | int) and 0 < value < inf)


def _whole(name: str, value: float | None, least: int, most: int) -> int | None:
    if value is None:
        return None
    if not (least <= value <= most and float(value).is_integer()):
        raise ConfigError(f"{name} is a whole number from {least} to {most}, and not {value:g}.")
    return int(value)
