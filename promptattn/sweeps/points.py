"""From a template to its points: every combination of the swept values, each a prompt of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from promptattn.errors import ConfigError
from promptattn.sweeps.template import Axis, Filled, read_template

__all__ = ["AXES", "Design", "Point", "design"]

AXES = 2  # a grid has rows and columns


@dataclass(frozen=True)
class Point:
    """One combination of values.

    `at` is the index of its value on each axis, `values` the values themselves. `places` says for each axis where the
    value stands: whether in the negative prompt, and its range there.
    """

    at: tuple[int, ...]
    values: tuple[str, ...]
    prompt: str
    negative: str | None
    places: tuple[tuple[bool, int, int], ...]


@dataclass(frozen=True)
class Design:
    """What is swept: both prompts as written, the axes (rows first), and every point, the last axis fastest."""

    template: str
    negative: str | None
    axes: tuple[Axis, ...]
    points: tuple[Point, ...]


def design(template: str, negative: str | None, *, images: int, limit: int) -> Design:
    """The points of a prompt and a negative prompt, either or both with sweeps.

    Raises:
        PromptSyntaxError: for braces that cannot be read.
        ConfigError: when nothing is swept or more than two things, or when `images` of each point are more than
            `limit`.
    """
    if limit < 1:
        raise ConfigError(f"limit={limit} must be at least 1.")
    prompt = read_template(template, limit)
    other = None if negative is None else read_template(negative, limit)
    axes = (*prompt.axes, *(other.axes if other else ()))
    if not axes:
        raise ConfigError(
            f"nothing is swept in {template!r}: write a range such as {{0.5..2.0:0.25}} or a list such as {{red,blue}}"
            " where the values shall stand."
        )
    if len(axes) > AXES:
        written = " ".join(axis.written for axis in axes)
        raise ConfigError(f"{len(axes)} sweeps are more than a grid has sides: {written}.")
    count = prod(len(axis.values) for axis in axes) * images
    if count > limit:
        raise ConfigError(f"this sweep makes {count} images, and {limit} are the most; sweep less, or raise the limit.")

    def points() -> Iterator[Point]:
        for at in product(*(range(len(axis.values)) for axis in axes)):
            values = [axis.values[index] for axis, index in zip(axes, at, strict=True)]
            own = len(prompt.axes)
            filled = prompt.fill(values[:own])
            against = None if other is None else other.fill(values[own:])
            places = [*_placed(filled, False), *(_placed(against, True) if against else ())]
            yield Point(at, tuple(values), filled.text, None if against is None else against.text, tuple(places))

    return Design(template, negative, axes, tuple(points()))


def _placed(filled: Filled, negative: bool) -> Sequence[tuple[bool, int, int]]:
    return [(negative, start, end) for start, end in filled.places]
