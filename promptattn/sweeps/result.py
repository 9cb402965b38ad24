"""What a sweep made: images and maps cell by cell, the grids drawn from them, and one folder with all of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import Image

from promptattn.errors import CaptureError
from promptattn.export import atomic_folder, safe_name, write_image
from promptattn.maps import HeatMap
from promptattn.maps.paint import blend, level_of
from promptattn.sweeps.cells import Cell, map_of
from promptattn.sweeps.description import described
from promptattn.sweeps.grid import Caption, Page, Run, draw_grid
from promptattn.sweeps.layout import Panel, panels
from promptattn.sweeps.points import Design
from promptattn.sweeps.statistics import mass_of, share_of
from promptattn.sweeps.swept import Key, Subject
from promptattn.sweeps.viewing import write_sweep_page

__all__ = ["SWEEP_FILE", "Maps", "Sweep"]

SWEEP_FILE = "sweep.json"
"""Describes a sweep; shows that a folder holds one."""

Maps = Sequence[HeatMap | None]
"""One map for each cell; None for a cell that has none."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """Every image of a sweep: `cells`, seed by seed, and in each seed with the last axis fastest.

    `subjects` says of each axis which words it is about, `settings` what all images have in common.
    """

    design: Design
    subjects: tuple[Subject, ...]
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    settings: dict[str, Any]

    @property
    def images(self) -> list[Image.Image]:
        """The images of `cells`."""
        return [cell.image for cell in self.cells]

    def maps_of(self, axis: int) -> Maps:
        """For each cell the map of the words that the axis is about."""
        words = self.subjects[axis].words
        return [map_of(cell.maps, words[index % len(words)]) for index, cell in enumerate(self.cells)]

    def maps_of_word(self, word: str | Key) -> Maps:
        """For each cell the map of a word, a phrase, or an occurrence `("a", 1)`; None where its prompt has none such.

        Raises `CaptureError` where no cell has it.
        """
        found: list[HeatMap | None] = []
        reason = CaptureError("there are no maps: this sweep was made with capture=False.")
        for cell in self.cells:
            try:
                found.append(None if cell.maps is None else cell.maps[word])
            except CaptureError as error:
                found.append(None)
                reason = error
        if not any(found):
            raise reason
        return found

    def grid(self) -> Image.Image:
        """All images in one labelled picture: the first axis down and the second across, or one axis in rows."""
        return draw_grid(Page(self._title, self._facts, self._panels), self.images)

    def maps_grid(self, maps: Maps, *, alpha: float = 0.9, colormap: str = "ember") -> Image.Image:
        """The same grid with `maps` laid over the images, all on one scale, and under each its share of attention.

        `alpha`, `colormap` as for `HeatMap.overlay`.
        """
        there = [heat for heat in maps if heat is not None]
        ends = [(float(mass.min()), float(mass.max())) for mass in map(mass_of, there)]
        low, top = min((least for least, _ in ends), default=0.0), max((most for _, most in ends), default=0.0)
        pictures = [
            cell.image
            if heat is None
            else blend(cell.image, level_of(heat.resized(heat.size), low, top), alpha=alpha, colormap=colormap)
            for cell, heat in zip(self.cells, maps, strict=True)
        ]
        captions = [None if heat is None else Caption(heat.label, f"{100 * share_of(heat):.1f} %") for heat in maps]
        labels = dict.fromkeys(heat.label for heat in there)
        facts = (f"attention to {', '.join(labels)}", *self._facts)
        return draw_grid(Page(self._title, facts, self._panels, captions, (low, top, colormap)), pictures)

    def as_dict(self) -> dict[str, Any]:
        """What `sweep.json` holds, but for the names of files."""
        return described(self)

    def save(
        self,
        folder: str | PathLike[str],
        *,
        words: Sequence[str | Key] = (),
        force: bool = False,
        alpha: float = 0.9,
        colormap: str = "ember",
        metadata: bool = True,
    ) -> Path:
        """Write the sweep to a folder, whole or not at all, and return its path.

        The folder holds `grid.png`, `sweep.json`, every image in `images/`, a `maps_WORD.png` for each axis that is
        about words, and `index.html`: the viewer of all images, where maps were recorded.

        Args:
            words: draw the maps of these words or phrases instead.
            force: replace a folder that an earlier sweep wrote. Any other existing folder is kept.
            alpha, colormap: as for `HeatMap.overlay`.
            metadata: whether each image of `images/` holds how it was made; see :func:`promptattn.export.write_image`.

        Raises:
            CaptureError: for a word that no cell has.
            ExportError: if the folder exists or cannot be written; nothing is left behind then.
        """
        with atomic_folder(folder, force=force, marker=SWEEP_FILE) as partial:
            self.write(partial, words=words, alpha=alpha, colormap=colormap, metadata=metadata)
        return Path(folder)

    def write(
        self,
        folder: Path,
        *,
        words: Sequence[str | Key] = (),
        alpha: float = 0.9,
        colormap: str = "ember",
        metadata: bool = True,
    ) -> None:
        """What `save` writes, into a folder that exists; for callers that have opened an `atomic_folder` themselves."""
        chosen = self._chosen(words)
        description = self.as_dict()
        (folder / "images").mkdir()
        for index, (cell, entry) in enumerate(zip(self.cells, description["cells"], strict=True)):
            values = " ".join(value or "nothing" for value in cell.point.values)
            entry["file"] = f"images/{safe_name(index, f'{values} seed {cell.seed}')}.png"
            write_image(cell.image, folder / entry["file"], self._settings_of(cell) if metadata else None)
        self.grid().save(folder / "grid.png")
        description["maps"] = {}
        for index, (label, maps) in enumerate(chosen):
            name = f"maps_{safe_name(index, label)[4:] or index}.png"
            name = f"maps_{safe_name(index, label)}.png" if name in description["maps"].values() else name
            self.maps_grid(maps, alpha=alpha, colormap=colormap).save(folder / name)
            description["maps"][label] = name
        write_sweep_page(self, folder / "index.html", colormap)
        text = json.dumps(description, ensure_ascii=False, indent=1, allow_nan=False)
        (folder / SWEEP_FILE).write_text(text + "\n", encoding="utf-8")

    def _settings_of(self, cell: Cell) -> dict[str, Any]:
        """What makes the image of one cell alone."""
        negative = None if cell.point.negative is None else [cell.point.negative]
        own = {"prompt": [cell.point.prompt], "negative_prompt": negative, "seed": cell.seed}
        return {**self.settings, **own, "num_images_per_prompt": 1}

    def _chosen(self, words: Sequence[str | Key]) -> list[tuple[str, Maps]]:
        """Whose maps to draw, and the maps."""
        if words:
            named = {word if isinstance(word, str) else " ".join(map(str, word)): word for word in words}
            return [(label, self.maps_of_word(word)) for label, word in named.items()]
        swept = {subject.label: self.maps_of(axis) for axis, subject in enumerate(self.subjects)}
        return [(label, maps) for label, maps in swept.items() if any(maps)]

    @property
    def _title(self) -> list[Run]:
        """The templates as written, their sweeps marked."""
        runs: list[Run] = []
        rest = self.design.template + (f" · without {self.design.negative}" if self.design.negative else "")
        for index, axis in enumerate(self.design.axes):
            before, written, rest = rest.partition(axis.written)
            runs += [(before, None), (written, index)]
        return [*runs, (rest, None)]

    @property
    def _facts(self) -> tuple[str, ...]:
        settings = self.settings
        guidance, steps = settings.get("guidance_scale"), settings.get("num_inference_steps")
        facts = [
            str(settings.get("model", "")),
            f"seed {self.seeds[0]}" if len(self.seeds) == 1 else "",
            f"{steps} steps" if steps else "",
            f"guidance {guidance:g}" if guidance is not None else "",
        ]
        return tuple(fact for fact in facts if fact)

    @cached_property
    def _panels(self) -> tuple[Panel, ...]:
        return panels([axis.values for axis in self.design.axes], self.seeds)
