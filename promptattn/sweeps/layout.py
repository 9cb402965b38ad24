"""Which cell stands where in a grid: the first axis down, the second across, a block for each seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

__all__ = ["Label", "Panel", "panels"]

MOST_ACROSS = 8  # values of a single axis in one row


@dataclass(frozen=True)
class Label:
    """A value at the side of a grid: its text, its axis (None for a seed), and which value of that it is, from 1."""

    text: str
    axis: int | None
    number: int = 0


@dataclass(frozen=True)
class Panel:
    """One block of a grid: labels down and across, and for each place the index of its cell. `title` may be empty."""

    title: str
    rows: tuple[Label, ...]
    columns: tuple[Label, ...]
    cells: tuple[tuple[int, ...], ...]


def panels(axes: Sequence[Sequence[str]], seeds: Sequence[int]) -> tuple[Panel, ...]:
    """The blocks of a sweep over one or two axes, given by their values; cells are counted seed by seed.

    One axis runs across, wrapped into rows of about equal length, with the seeds down. Two axes make one block for each
    seed.
    """
    if len(axes) == 1:
        return tuple(_strips(axes[0], seeds))
    rows, columns = (_labels(values, axis) for axis, values in enumerate(axes))
    size = len(rows) * len(columns)
    return tuple(
        Panel(
            f"seed {seed}" if len(seeds) > 1 else "",
            rows,
            columns,
            tuple(
                tuple(number * size + row * len(columns) + column for column in range(len(columns)))
                for row in range(len(rows))
            ),
        )
        for number, seed in enumerate(seeds)
    )


def _strips(values: Sequence[str], seeds: Sequence[int]) -> list[Panel]:
    across = ceil(len(values) / ceil(len(values) / MOST_ACROSS))
    rows = tuple(Label(f"seed {seed}" if len(seeds) > 1 else "", None) for seed in seeds)
    return [
        Panel(
            "",
            rows,
            _labels(values, 0)[first : first + across],
            tuple(
                tuple(number * len(values) + index for index in range(first, min(first + across, len(values))))
                for number in range(len(seeds))
            ),
        )
        for first in range(0, len(values), across)
    ]


def _labels(values: Sequence[str], axis: int) -> tuple[Label, ...]:
    return tuple(Label(value, axis, number) for number, value in enumerate(values, start=1))
