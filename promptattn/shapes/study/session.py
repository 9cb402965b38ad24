"""The study's loop: paint what has no result yet, measure it, write it down."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from shutil import copyfile

import numpy as np

from promptattn.shapes.study import areas, pixels
from promptattn.shapes.study.cases import Case
from promptattn.shapes.study.cells import UNTOUCHED, Cell
from promptattn.shapes.study.painter import Painted, Painter
from promptattn.shapes.study.store import Key, Store

__all__ = ["Progress", "Session", "say"]

Progress = Callable[[Cell, int], None]
"""Is told of a cell, and how many new results it has."""


def say(cell: Cell, new: int) -> None:
    print(f"{cell.arm} {cell.weight:g} {cell.target}: {new} new", flush=True)


class Session:
    """Cases and cells to go through, with the images without weights kept in `folder / "base"`.

    Args:
        batch: how many cases go into one call of the painter.
        maps: the painter gives maps, and they are measured too.
    """

    def __init__(
        self, folder: Path, store: Store, painter: Painter, cases: Sequence[Case], *, batch: int, maps: bool
    ) -> None:
        self._bases = folder / "base"
        self._bases.mkdir(parents=True, exist_ok=True)
        self._store = store
        self._painter = painter
        self._cases = cases
        self._batch = batch
        self._maps = maps

    def run(self, cells: Sequence[Cell], limit: int | None = None, progress: Progress = say) -> int:
        """Fill the cells in order; stop after `limit` new results. Returns how many were made."""
        made = 0
        for cell in cells:
            missing = self.missing(cell)
            if limit is not None:
                missing = missing[: limit - made]
            for part in _parts(missing, self._batch):
                bases = self._base(part, cell.target)
                images = bases if cell.effect == UNTOUCHED else self._painter(cell, part)
                for case, painted, base in zip(part, images, bases, strict=True):
                    self._store.append(Key(cell.effect, cell.target, case.index), self._measure(case, painted, base))
            made += len(missing)
            if missing:
                progress(cell, len(missing))
        return made

    def missing(self, cell: Cell) -> list[Case]:
        """The cases that have no result in this cell."""
        return [case for case in self._cases if Key(cell.effect, cell.target, case.index) not in self._store]

    def adopt(self, folder: Path, cells: Sequence[Cell]) -> int:
        """Take over what another folder has for these cells, with its images without weights. Returns how many.

        Raises:
            ConfigError: when its results were made with other settings; names the first that differs.
        """
        Store(folder)  # it must be there: with settings a missing folder would be made
        theirs, taken = Store(folder, self._store.settings), 0
        for cell in cells:
            for case in self.missing(cell):
                key = Key(cell.effect, cell.target, case.index)
                if key in theirs:
                    self._store.append(key, theirs[key])
                    taken += 1
        for case in self._cases:
            for path in {self._path(case, cell.target) for cell in cells}:
                if not path.is_file() and (known := folder / "base" / path.name).is_file():
                    partial = path.with_suffix(".part.npz")
                    copyfile(known, partial)
                    partial.replace(path)
        return taken

    def _measure(self, case: Case, painted: Painted, base: Painted) -> dict[str, float]:
        found = {} if case.scene is None else pixels.measure(case, painted.image, base.image)
        if self._maps:
            by_map = areas.measure(painted.image, base.image, painted.maps, base.maps)
            found = {**by_map, **found}
        return found

    def _base(self, cases: Sequence[Case], target: str) -> list[Painted]:
        """The images without weights, painted once. Maps are kept for each target, as each watches other words."""
        missing = [case for case in cases if not self._path(case, target).is_file()]
        for part in _parts(missing, self._batch):
            painted = self._painter(Cell("auto", 1.0, target), part)
            for case, each in zip(part, painted, strict=True):
                path = self._path(case, target)
                partial = path.with_suffix(".part.npz")
                np.savez_compressed(partial, image=each.image, **each.maps)  # type: ignore[arg-type]
                partial.replace(path)
        return [_read(self._path(case, target)) for case in cases]

    def _path(self, case: Case, target: str) -> Path:
        return self._bases / (f"{case.index:04d}-{target}.npz" if self._maps else f"{case.index:04d}.npz")


def _read(path: Path) -> Painted:
    with np.load(path) as arrays:
        return Painted(arrays["image"], {name: arrays[name] for name in arrays.files if name != "image"})


def _parts(cases: Sequence[Case], size: int) -> Iterator[Sequence[Case]]:
    for first in range(0, len(cases), size):
        yield cases[first : first + size]
