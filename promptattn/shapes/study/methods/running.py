"""Painting what is missing, of all models in turn, so that results that are half there are of all of them alike."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from promptattn.errors import PromptAttnError
from promptattn.shapes.study.cases import Case
from promptattn.shapes.study.cells import Cell
from promptattn.shapes.study.methods.cells import blocks
from promptattn.shapes.study.painter import Painted, Painter, paint
from promptattn.shapes.study.running import load_pipe, of_shard, options_of, settings_of
from promptattn.shapes.study.session import Progress, Session
from promptattn.shapes.study.store import Store, write_whole

__all__ = ["REFUSED", "Work", "fill", "prepare", "refusals", "refused"]

REFUSED = "refused.json"
"""The file in a results folder that says which methods a model does not serve, and why."""


@dataclass(frozen=True)
class Work:
    """One model's part: where its results go, what paints them, which methods it serves."""

    folder: Path
    store: Store
    painter: Painter
    methods: tuple[str, ...]


def prepare(model: str, folder: Path, methods: Sequence[str], steps: int, seed: int) -> Work:
    """Load a model, open its folder, and find out which of the methods it serves.

    Raises:
        ConfigError: when the folder holds results of other settings.
    """
    pipe = load_pipe(model)
    options = options_of(pipe, steps)
    store = Store(folder, settings_of(model, pipe, options, seed=seed))
    without = refusals(pipe, methods)
    write_whole(folder / REFUSED, without)

    def painter(cell: Cell, cases: Sequence[Case]) -> list[Painted]:
        return paint(pipe, cell, cases, options)

    return Work(folder, store, painter, tuple(method for method in methods if method not in without))


def refused(folder: Path) -> dict[str, str]:
    """What `prepare` found that the model of this results folder does not serve."""
    path = folder / REFUSED
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def refusals(pipe: Any, methods: Iterable[str]) -> dict[str, str]:
    """The methods that cannot act in this pipeline, each with what it says."""
    from promptattn import attend

    found = {}
    for method in methods:
        try:
            with attend(pipe, "a (red:1.5) cat", weighting=method, capture=False):
                pass
        except PromptAttnError as error:
            found[method] = str(error)
    return found


def fill(
    works: Sequence[Work],
    cases: Sequence[Case],
    *,
    shard: str = "0/1",
    batch: int = 8,
    start_from: Sequence[Path | None] = (),
    limit: int | None = None,
    progress: Callable[[str], None] = print,
) -> int:
    """Paint this shard's missing results of all models, block by block of scenes; returns how many were made.

    `start_from` gives for each model a folder of results made with the same settings, which are taken over first.
    """
    for work, folder in zip_longest(works, start_from[: len(works)]):
        if folder is not None:
            taken = sum(_session(work, part, shard, batch).adopt(folder, cells) for part, cells in _plan(work, cases))
            progress(f"{work.folder}: {taken} results taken over from {folder}")
    tally = _Tally(sum(_missing(work, cases, shard, batch) for work in works), progress)
    for turn in zip(*(_plan(work, cases) for work in works), strict=True):
        for work, (part, cells) in zip(works, turn, strict=True):
            left = None if limit is None else limit - tally.made
            _session(work, part, shard, batch).run(cells, left, tally.of(work.folder.name, len(part)))
    return tally.made


def _plan(work: Work, cases: Sequence[Case]) -> list[tuple[Sequence[Case], list[Cell]]]:
    return list(blocks(cases, work.methods))


def _session(work: Work, cases: Sequence[Case], shard: str, batch: int) -> Session:
    return Session(work.folder, work.store, work.painter, of_shard(cases, shard), batch=batch, maps=False)


def _missing(work: Work, cases: Sequence[Case], shard: str, batch: int) -> int:
    """How many results are missing; cells of the same effect share theirs."""
    return len(
        {
            (cell.effect, cell.target, case.index)
            for part, cells in _plan(work, cases)
            for cell in cells
            for case in _session(work, part, shard, batch).missing(cell)
        }
    )


@dataclass
class _Tally:
    """How far the work is, said with each cell. Times are of this run only."""

    wanted: int
    progress: Callable[[str], None]
    made: int = 0

    def __post_init__(self) -> None:
        self._start = time.monotonic()

    def of(self, model: str, scenes: int) -> Progress:
        def told(cell: Cell, new: int) -> None:
            self.made += new
            left = (time.monotonic() - self._start) / self.made * (self.wanted - self.made) / 60
            self.progress(
                f"{model}, first {scenes} scenes: {cell.arm} {cell.weight:g} {cell.target}, {new} new;"
                f" {self.made} of {self.wanted}, about {left:.0f} min left"
            )

        return told
