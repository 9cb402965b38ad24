"""Two results side by side: what other weights, or other words, did to the picture and to where the model looked."""

import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptattn.errors import CaptureError, ConfigError, ExportError
from promptattn.export.atomic import parents
from promptattn.export.saved import read_saved
from promptattn.export.viewer import Shown, in_notebook, shown_images, write_page
from promptattn.maps import HeatMaps
from promptattn.maps.resize import resize
from promptattn.prompt import Word
from promptattn.prompt.words import fold

__all__ = ["Comparison", "compare"]

Key = tuple[str, int]
MOST_NAMED = 3  # words with other weights that still make a name


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two images with their maps, of which `before` is the one that the other is measured against.

    In a notebook it displays itself.
    """

    before: Shown
    after: Shown

    @cached_property
    def shares(self) -> Mapping[Key, tuple[float, float]]:
        """For each word of both prompts, as (word in lower case, occurrence), its share before and after."""
        shares = [_shares(each.maps) for each in (self.before, self.after)]
        return {key: (share, shares[1][key]) for key, share in shares[0].items() if key in shares[1]}

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        """How much more mass each pixel gives to a word after than before: float32 `[height, width]` in [-1, 1].

        `key` is as for `maps[key]`, and must be in both prompts. At the size of the second image.
        """
        after = self.after.maps[key].array
        before = self.before.maps[key].array
        return after - resize(before, (after.shape[0], after.shape[1]))

    @property
    def mean_change(self) -> float:
        """The mean change of a pixel of the pictures, over all colours, in [0, 1]; `ExportError` without pictures."""
        pictures = self.before.picture, self.after.picture
        if pictures[0] is None or pictures[1] is None or pictures[0].size != pictures[1].size:
            raise ExportError("The change of pixels needs two pictures of one size.")
        first, second = (np.asarray(picture, dtype=np.float32) for picture in pictures)
        return float(np.abs(first - second).mean(dtype=np.float64)) / 255

    def save(self, file: str | PathLike[str], *, colormap: str = "ember", force: bool = False) -> Path:
        """Write the viewer of both images, opened side by side, to one HTML file, whole or not at all.

        Folders of its path that are missing are made.

        Raises:
            ConfigError: if the file's name does not end in .html.
            ExportError: if the file exists (and is not to be replaced with `force`) or cannot be written.
        """
        goal = page_file(file)
        if goal.exists() and not force:
            raise ExportError(
                f"'{goal}' already exists and is kept; choose another name, or replace it with --force (force=True)."
            )
        partial = goal.with_name(f".{goal.name}.partial-{secrets.token_hex(4)}")
        try:
            with parents(goal.parent):
                try:
                    write_page([self.before, self.after], partial, colors=colormap, opened="compare")
                    os.replace(partial, goal)
                finally:
                    with suppress(OSError):
                        partial.unlink()
        except OSError as error:
            raise ExportError(f"'{goal}' cannot be written: {error.strerror or error}.") from error
        return Path(file)

    def _repr_html_(self) -> str:
        return in_notebook([self.before, self.after], opened="compare")


def page_file(file: str | PathLike[str]) -> Path:
    """Where a comparison is written: one HTML file, by its name.

    Raises:
        ConfigError: for a name that does not end in .html.
    """
    goal = Path(file).expanduser()
    if goal.suffix.lower() not in (".html", ".htm"):
        better = goal.with_suffix(".html").name if goal.name else "compare.html"
        raise ConfigError(f"A comparison is one HTML file, and '{file}' does not end in .html; call it {better!r}.")
    return goal


def compare(
    before: Any,
    after: Any,
    *,
    names: tuple[str, str] | None = None,
    images: tuple[Any, Any] | None = None,
    index: int = 0,
) -> Comparison:
    """Put two results side by side: best of one seed, so that what differs comes from the prompts.

        plain = promptattn.generate("shapes", "a red cat", seed=7)
        strong = promptattn.generate("shapes", "a (red:1.5) cat", seed=7)
        promptattn.compare(plain, strong).save("red.html")

    Args:
        before, after: what `generate` returned, a folder that it was saved to, or maps.
        names: what the two are called; by default the weights that differ ("red ×1.5"), or else the prompts.
        images: the pictures, where they are not in `before` and `after` themselves (maps alone hold none).
        index: which image, where a result has several.

    Raises:
        CaptureError: for a result without maps, or without an image of that index.
        ExportError: for a folder that holds no maps.
    """
    pictures = images or (None, None)
    first, second = (_chosen(each, picture, index) for each, picture in zip((before, after), pictures, strict=True))
    called = names or _names(first.maps, second.maps)
    return Comparison(replace(first, name=called[0]), replace(second, name=called[1]))


def _chosen(result: Any, picture: Any, index: int) -> Shown:
    if isinstance(result, str | PathLike):
        maps, beside = read_saved(result)
    elif isinstance(result, HeatMaps):
        maps, beside = result, None
    elif hasattr(result, "maps"):
        maps, beside = result.maps, getattr(result, "images", None)
    else:
        raise ConfigError(
            f"compare takes what generate returned, a saved folder, or maps; not {type(result).__name__}."
        )
    if maps is None:
        raise CaptureError("There are no maps to compare: this result was made with capture=False.")
    single = maps.image(index)
    return shown_images(single, picture if picture is not None else beside and beside[index])[0]


def _shares(maps: HeatMaps) -> dict[Key, float]:
    kept = [word for word in maps.words if not word.is_punctuation and maps.state(word) == "recorded"]
    return {_key(word): maps[word].share for word in kept}


def _key(word: Word) -> Key:
    return fold(word.text), word.occurrence


def _names(before: HeatMaps, after: HeatMaps) -> Sequence[str]:
    """What tells two results apart: the weights that differ, or else the texts, or else nothing but their order."""
    weights = [{_key(word): word.weight for word in maps.words if not word.is_punctuation} for maps in (before, after)]
    differing = [word for word in after.words if weights[0].get(_key(word), word.weight) != word.weight]
    if weights[0].keys() == weights[1].keys() and 0 < len(differing) <= MOST_NAMED:
        return [", ".join(f"{word.text} ×{each[_key(word)]:.4g}" for word in differing) for each in weights]
    texts = before.prompt.text, after.prompt.text
    return texts if texts[0] != texts[1] else ("before", "after")
