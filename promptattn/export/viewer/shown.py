"""What a page is made of: one image with its maps, and the name by which the page tells it from others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from promptattn.errors import ExportError
from promptattn.export.subjects import Subject, subjects
from promptattn.maps import HeatMaps
from promptattn.maps.paint import as_rgb

__all__ = ["Shown", "pictures_of", "shown_images"]


@dataclass(frozen=True, eq=False)
class Shown:
    """One image of a page: its maps, what has a map in them, the picture if there is one, and a name."""

    maps: HeatMaps
    found: Sequence[Subject]
    picture: Image.Image | None
    name: str


def shown_images(maps: HeatMaps, image: Any = None, *, name: str = "image") -> list[Shown]:
    """Every image of `maps`, ready for a page; `image` as for :func:`promptattn.export.save`.

    Several images are told apart by their number.
    """
    pictures = pictures_of(maps, image)
    names = [name] if len(maps) == 1 else [f"{name} {index}" for index in range(len(maps))]
    return [
        Shown(single, list(subjects(single)), picture, called)
        for single, picture, called in zip(maps.images, pictures, names, strict=True)
    ]


def pictures_of(maps: HeatMaps, image: Any) -> list[Image.Image | None]:
    """The picture of each image of `maps`, RGB; `ExportError` where there are more or fewer."""
    if image is None:
        return [None] * len(maps)
    given = list(image) if isinstance(image, Sequence) and not isinstance(image, str) else [image]
    if len(given) != len(maps):
        raise ExportError(f"The maps are of {len(maps)} images, but {len(given)} were given to lay them over.")
    return [as_rgb(one) for one in given]
