"""`write_image`: an image file that says how it was made."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import Image

from promptattn.export.metadata.carriers import save_with_texts
from promptattn.export.metadata.record import write_record
from promptattn.export.metadata.translation import to_a1111

__all__ = ["write_image"]


def write_image(
    image: Image.Image,
    path: str | PathLike[str],
    settings: Mapping[str, Any] | None,
    index: int = 0,
    **options: Any,
) -> None:
    """Save an image, and in it how it was made: as A1111's `parameters` text, and as our own JSON.

    Args:
        image: image `index` of a :class:`promptattn.Generation`.
        path: a PNG keeps the pixels to the bit; a JPEG or WebP holds the texts in its EXIF.
        settings: `Generation.settings`, or None to write no text at all; nor is any written from settings without
            prompt and seed, such as those of maps that an older promptattn saved.
        options: further arguments of Pillow's `save`, such as `quality`.

    Raises:
        ExportError: for other kinds of files when there are settings, and when they are too long for a JPEG.
    """
    if settings is None or not settings.keys() >= {"prompt", "seed"}:
        image.save(path, **options)
        return
    settings = {**settings, "width": image.width, "height": image.height}
    save_with_texts(image, Path(path), to_a1111(settings, index), write_record(settings, index), **options)
