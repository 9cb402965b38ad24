"""Where text lies in image files: chunks of a PNG, EXIF of a JPEG or WebP. Pixels are not touched, and not read."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from promptattn.errors import ExportError

__all__ = ["LARGEST", "PARAMETERS", "RECORD", "Texts", "read_texts", "save_with_texts"]

PARAMETERS: Final = "parameters"
"""The key of A1111's text in a PNG."""

RECORD: Final = "promptattn"
"""The key of our own JSON in a PNG."""

LARGEST: Final = 1_000_000
"""Characters of text that are read from one file; more is refused."""

_FORMATS = ("PNG", "JPEG", "WEBP")
_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_EXIF_FOLDER, _MAKER_NOTE, _USER_COMMENT = 0x8769, 0x927C, 0x9286
_MOST_EXIF = 65533 - len(b"Exif\0\0")  # of a JPEG segment, whose length takes two bytes itself
_MADE_BY = b"promptattn\0"


@dataclass(frozen=True)
class Texts:
    """The texts of one image file: A1111's, our own JSON, and the other keys that a PNG has."""

    parameters: str | None
    record: str | None
    others: Mapping[str, str]


def read_texts(path: str | PathLike[str]) -> Texts:
    """The texts of a PNG, JPEG or WebP.

    Raises:
        ExportError: for what is no such image or cannot be read, and for texts of more than :data:`LARGEST` characters.
    """
    file = Path(path).expanduser()
    texts = _read(file)
    for text in (texts.parameters, texts.record):
        if text is not None and len(text) > LARGEST:
            raise ExportError(
                f"'{file}' holds {len(text)} characters of text about itself; {LARGEST} are read at most."
            )
    return texts


def save_with_texts(image: Image.Image, path: Path, parameters: str, record: str, **options: Any) -> None:
    """Save an image with both texts, in the format that the file's name says; `options` are those of Pillow's `save`.

    `record` is ASCII. A PNG keeps the pixels to the bit and holds the texts as `parameters` and `promptattn`; a JPEG or
    WebP holds them in its EXIF, as UserComment, where A1111 looks for them, and as MakerNote.

    Raises:
        ExportError: for other kinds of files, and where a JPEG has no room for the texts.
    """
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ExportError(
            f"'{path.name}' is not the name of a PNG, JPEG or WebP; no other image is given its settings."
        )
    if kind == "PNG":
        chunks = PngInfo()
        chunks.add_text(PARAMETERS, parameters)  # Latin-1 as tEXt, anything else as iTXt
        chunks.add_text(RECORD, record)
        image.save(path, format=kind, pnginfo=chunks, **options)
        return
    exif = Image.Exif()
    exif.get_ifd(_EXIF_FOLDER).update(
        {_USER_COMMENT: b"UNICODE\0" + parameters.encode("utf-16-be"), _MAKER_NOTE: _MADE_BY + record.encode("ascii")}
    )
    if kind == "JPEG" and len(exif.tobytes()) > _MOST_EXIF:
        raise ExportError(
            f"'{path.name}': a JPEG has room for 64 KB of text, and this prompt and its settings take more:"
            " save a PNG or WebP, or leave them out (--no-metadata, metadata=False)."
        )
    image.save(path, format=kind, exif=exif, **options)


def _read(file: Path) -> Texts:
    try:
        # Of no interest here: how large an image says it is, since its pixels are not decoded, and damage to its EXIF
        # that leaves something to read.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_FORMATS) as image:
                return _texts_of(image)
    except FileNotFoundError:
        raise ExportError(f"there is no image '{file}'.") from None
    except IsADirectoryError:
        raise ExportError(f"'{file}' is a folder; name the image in it.") from None
    except UnidentifiedImageError:
        raise ExportError(f"'{file}' is not a PNG, JPEG or WebP, or not a whole one.") from None
    # A damaged or hostile file: Pillow's readers raise whatever their parsing runs into. What it was is in __cause__.
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ExportError(f"the texts of '{file}' cannot be read: {reason.rstrip('.')}.") from error


def _texts_of(image: Image.Image) -> Texts:
    info = {key: value for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)}
    if image.format == "PNG" and not info.keys() & {PARAMETERS, RECORD}:
        info |= _after_the_pixels(image)
    comment, note = _exif_texts(image)
    parameters = info.pop(PARAMETERS, None) or comment
    return Texts(parameters or None, info.pop(RECORD, None) or note, info)


def _after_the_pixels(image: Any) -> dict[str, str]:
    """The texts that stand behind the pixels of a PNG, where some tools put them. Empty if the file ends before."""
    try:
        return {key: str(value) for key, value in image.text.items()}
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return {}


def _exif_texts(image: Image.Image) -> tuple[str | None, str | None]:
    folder = image.getexif().get_ifd(_EXIF_FOLDER)
    comment, note = folder.get(_USER_COMMENT), folder.get(_MAKER_NOTE)
    return (
        _user_comment(comment) if isinstance(comment, bytes) else comment if isinstance(comment, str) else None,
        _maker_note(note) if isinstance(note, bytes) else None,
    )


def _maker_note(data: bytes) -> str | None:
    return data.removeprefix(_MADE_BY).decode("ascii", "replace") if data.startswith(_MADE_BY) else None


def _user_comment(data: bytes) -> str:
    """EXIF's UserComment: eight bytes that name the encoding, and the text."""
    kind, text = data[:8], data[8:]
    if kind == b"UNICODE\0":
        # Big-endian as A1111 writes it, unless the zero bytes of its many Latin letters lie on the other side.
        encoding = "utf-16-le" if text[1::2].count(0) > text[::2].count(0) else "utf-16-be"
        return text.decode(encoding, "replace").removeprefix("\ufeff")
    if kind == b"ASCII\0\0\0":
        return text.decode("utf-8", "replace")
    return data.removeprefix(b"\0" * 8).decode("utf-8", "replace")
