"""A saved run read back: its maps, and the pictures that lie beside them."""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

from PIL import Image

from promptattn.errors import ExportError
from promptattn.export.arrays import load
from promptattn.maps import HeatMaps

__all__ = ["read_saved"]


def read_saved(
    source: str | PathLike[str], pictures: Sequence[Path] | None = None
) -> tuple[HeatMaps, list[Image.Image] | None]:
    """The maps of a folder, or of a file in it, and their pictures, if there are any.

    Args:
        source: what `load` takes.
        pictures: files to read in place of those that lie beside the maps.

    Raises:
        ExportError: when there are no maps at `source`, or a picture cannot be read.
    """
    source = Path(source).expanduser()
    maps = load(source)
    if pictures is not None:
        return maps, [_picture(file) for file in pictures] or None
    beside = _beside(source if source.is_dir() else source.parent, len(maps))
    return maps, [_picture(file) for file in beside if file.is_file()] or None


def _beside(folder: Path, count: int) -> Iterator[Path]:
    for index in range(count):
        yield folder / "image.png" if count == 1 else folder / f"image_{index}" / "image.png"


def _picture(file: Path) -> Image.Image:
    try:
        with Image.open(file) as opened:
            return opened.convert("RGB")  # read now: an export may replace the folder that it lies in
    except OSError as error:
        raise ExportError(f"the image '{file}' cannot be read: {error.strerror or error}.") from error
