"""A sweep in the viewer: every image with its maps, any two of which can be compared."""

from pathlib import Path
from typing import TYPE_CHECKING

from promptattn.export.viewer import Shown, shown_images, write_page
from promptattn.sweeps.cells import Cell

if TYPE_CHECKING:
    from promptattn.sweeps.result import Sweep

__all__ = ["shown_cells", "write_sweep_page"]


def write_sweep_page(sweep: "Sweep", file: Path, colormap: str) -> None:
    """Write the page of every image that has maps, opened at two that differ in one value; nothing without maps."""
    shown = shown_cells(sweep)
    if not shown:
        return
    write_page(shown, file, colors=colormap, opened="compare", pair=(0, min(_farthest(sweep), len(shown) - 1)))


def _farthest(sweep: "Sweep") -> int:
    """The cell that differs from the first one in one axis only, by all of it: an axis of weights if there is one."""
    kinds = [subject.kind for subject in sweep.subjects]
    axis = kinds.index("weight") if "weight" in kinds else 0
    wanted = tuple(len(each.values) - 1 if at == axis else 0 for at, each in enumerate(sweep.design.axes))
    return next(place for place, point in enumerate(sweep.design.points) if point.at == wanted)


def shown_cells(sweep: "Sweep") -> list[Shown]:
    """Every image that has maps, as the viewer shows it, with its values for a name."""
    return [each for cell in sweep.cells for each in _shown(sweep, cell)]


def _shown(sweep: "Sweep", cell: Cell) -> list[Shown]:
    return [] if cell.maps is None else shown_images(cell.maps, cell.image, name=_name(sweep, cell))


def _name(sweep: "Sweep", cell: Cell) -> str:
    """`red ×1.5 · mouse`, and the seed where there are several."""
    parts = [
        f"{subject.label} ×{value}" if subject.kind == "weight" else value or "nothing"
        for subject, value in zip(sweep.subjects, cell.point.values, strict=True)
    ]
    return " · ".join([*parts, *([f"seed {cell.seed}"] if len(sweep.seeds) > 1 else [])])
