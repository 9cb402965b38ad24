"""Everything an export writes: pictures, arrays and the viewer, into one folder that appears whole."""

import warnings
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import Image

from promptattn.errors import ConfigError, PromptAttnWarning
from promptattn.export.arrays import describe, write_arrays
from promptattn.export.atomic import atomic_folder
from promptattn.export.formats import FORMATS
from promptattn.export.matrix import text_attention_picture
from promptattn.export.metadata import write_image
from promptattn.export.names import safe_name
from promptattn.export.sheet import contact_sheet
from promptattn.export.subjects import Subject, subjects, warn_of_empty
from promptattn.export.viewer import Shown, pictures_of, write_page
from promptattn.maps import HeatMaps
from promptattn.maps.paint import blend, gray16, level_of, own_scale

__all__ = ["save", "write"]

FOLDERS = {"word": "words", "token": "tokens", "marker": "markers", "patch": "patches"}
FILES = {"file", "overlay"}
MOST_TOKENS = 1000  # 13 windows of a CLIP encoder
FAST = 2  # PNG compression: a quarter of the time of Pillow's default, for files a few per cent larger


def save(
    maps: HeatMaps,
    folder: str | PathLike[str],
    *,
    image: Any = None,
    force: bool = False,
    alpha: float = 0.9,
    colormap: str = "ember",
    formats: Collection[str] = FORMATS,
) -> Path:
    """Write the maps to `folder`, whole or not at all, and return its path.

    The folder holds `index.html` (the viewer, self-contained), `contact_sheet.png`, `text_attention.png`, `image.png`,
    `words/`, `tokens/`, `markers/` and `patches/`, and all masses as `maps.npz` and `maps.safetensors`, described by
    `maps.json`. Each word and so on has an overlay, `*.overlay.png`, and a 16-bit gray picture, `*.map.png`, where 0 is
    no mass and 65535 the `mass_at_65535` that `maps.json` gives for it. The maps of several images have their pictures
    in `image_0/`, `image_1/` ...

    Args:
        image: the generated image (Pillow, or uint8 `[height, width, 3]`), or a list of one for each image of the maps.
        force: replace a folder that an earlier export wrote. Any other existing folder is kept.
        alpha, colormap: as for `HeatMap.overlay`.
        formats: which of :data:`promptattn.export.FORMATS` to write; all of them if not given.

    Raises:
        ExportError: if the folder exists or cannot be written, or the images do not fit the maps.
    """
    with atomic_folder(folder, force=force) as partial:
        write(maps, partial, image=image, alpha=alpha, colormap=colormap, formats=formats)
    return Path(folder)


def write(
    maps: HeatMaps,
    folder: Path,
    *,
    image: Any = None,
    alpha: float = 0.9,
    colormap: str = "ember",
    formats: Collection[str] = FORMATS,
    metadata: bool = False,
) -> None:
    """What `save` does, into a folder that exists; for callers that have opened an `atomic_folder` themselves.

    With `metadata` each `image.png` holds how it was made, from `maps.meta`: for maps of `generate`, and for the very
    images that it made.
    """
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise ConfigError(f"formats: {unknown[0]!r} is none of {', '.join(FORMATS)}.")
    images = pictures_of(maps, image)
    brush = _Brush(alpha, colormap, frozenset(formats))
    pictures: list[dict[str, Any]] = []
    shown: list[Shown] = []
    for index, (single, picture) in enumerate(zip(maps.images, images, strict=True)):
        into = folder if len(maps) == 1 else folder / f"image_{index}"
        into.mkdir(exist_ok=True)
        found = list(subjects(single))
        warn_of_empty(found)
        if picture is not None:
            write_image(picture, into / "image.png", maps.meta if metadata else None, index, compress_level=FAST)
        for entry in _write_pictures(single, found, into, picture, brush):
            files = {key: (into / entry[key]).relative_to(folder).as_posix() for key in FILES & entry.keys()}
            pictures.append(entry | files | {"image": index})
        shown.append(Shown(single, found, picture, "image" if len(maps) == 1 else f"image {index}"))
    description = describe(maps) | {"pictures": pictures}
    write_arrays(maps, folder, description, formats)
    if "viewer" in formats:
        write_page(shown, folder / "index.html", colors=colormap)


@dataclass(frozen=True)
class _Brush:
    """How pictures are painted, and which of them."""

    alpha: float
    colors: str
    formats: frozenset[str]


def _write_pictures(
    maps: HeatMaps, found: list[Subject], folder: Path, image: Image.Image | None, brush: _Brush
) -> list[dict[str, Any]]:
    """Write the pictures of one image's maps; returns what `maps.json` says of the maps' files."""
    base = image or Image.new("RGB", maps.image_size[::-1], (40, 39, 46))
    if "sheet" in brush.formats:
        _write_sheet(maps, found, folder, base, brush)
    if not brush.formats & {"overlay", "gray16"}:
        return []
    drawn = [subject for subject in found if subject.kind in FOLDERS]
    if len(maps.tokens) > MOST_TOKENS:
        warnings.warn(
            f"The prompt has {len(maps.tokens)} tokens: pictures are written of words only, not of each token as well. "
            "All masses are in maps.npz.",
            PromptAttnWarning,
            stacklevel=4,
        )
        drawn = [subject for subject in drawn if subject.kind != "token"]
    with ThreadPoolExecutor() as pool:  # Pillow lets go of the interpreter while it compresses
        return list(pool.map(lambda subject: _write_subject(subject, folder, base, brush), drawn))


def _write_sheet(maps: HeatMaps, found: list[Subject], folder: Path, base: Image.Image, brush: _Brush) -> None:
    words = [subject for subject in found if subject.kind == "word"]
    sheet = contact_sheet(maps.prompt.text, base, words, alpha=brush.alpha, colors=brush.colors)
    sheet.save(folder / "contact_sheet.png", compress_level=FAST)
    if maps.text_attention:
        picture = text_attention_picture(maps.text_attention, maps.words, colors=brush.colors)
        picture.save(folder / "text_attention.png", compress_level=FAST)


def _write_subject(subject: Subject, folder: Path, base: Image.Image, brush: _Brush) -> dict[str, Any]:
    place = folder / FOLDERS[subject.kind]
    place.mkdir(exist_ok=True)
    name = safe_name(subject.index, subject.label)
    entry: dict[str, Any] = {
        "kind": subject.kind,
        "index": subject.index,
        "label": subject.label,
        "share": subject.share,
    }
    gray = subject.mass
    if "gray16" in brush.formats:
        gray16(gray).save(place / f"{name}.map.png", compress_level=FAST)
        entry |= {"file": f"{place.name}/{name}.map.png", "mass_at_65535": subject.top}
    if "overlay" in brush.formats:
        mass = gray if base.size == subject.heat.size[::-1] else subject.heat.resized((base.height, base.width))
        low, top = own_scale(mass)
        over = blend(base, level_of(mass, low, top), alpha=brush.alpha, colormap=brush.colors)
        over.save(place / f"{name}.overlay.png", compress_level=FAST)
        entry |= {"overlay": f"{place.name}/{name}.overlay.png", "overlay_scale": [low, top]}
    return entry
