"""Text in pictures, with a font that the package brings along, so that a picture is the same on every machine."""

import re
import unicodedata
from functools import lru_cache
from importlib import resources
from io import BytesIO
from typing import Any

from PIL import ImageDraw, ImageFont

__all__ = ["Draw", "drawable", "fit", "font", "legible", "wrap"]

MISSING = "\ufffd"

Draw = ImageDraw.ImageDraw


@lru_cache(maxsize=32)
def font(size: int) -> Any:
    """DejaVu Sans (Latin with accents, Greek, Cyrillic, Hebrew, Arabic) at a size in pixels."""
    data = resources.files("promptattn.export").joinpath("fonts", "DejaVuSans-subset.ttf").read_bytes()
    return ImageFont.truetype(BytesIO(data), size)


@lru_cache(maxsize=4096)
def _has_glyph(character: str) -> bool:
    if character == " ":
        return True
    if unicodedata.category(character)[0] == "C":  # control, surrogate, unassigned
        return False
    face = font(24)
    return bytes(face.getmask(character)) != bytes(face.getmask("\uffff"))


def drawable(text: str, fallback: str) -> str:
    """`text` composed and on one line, or `fallback` where the font lacks a character (emoji, other scripts)."""
    plain = legible(text)
    return fallback if not plain or MISSING in plain else plain


def legible(text: str) -> str:
    """`text` composed and on one line, with a replacement sign for each run of characters that the font lacks."""
    plain = unicodedata.normalize("NFC", " ".join(text.split()))
    return re.sub(f"{MISSING}+", MISSING, "".join(c if _has_glyph(c) else MISSING for c in plain))


def fit(text: str, size: int, width: float) -> str:
    """`text`, shortened with an ellipsis until it is at most `width` pixels wide."""
    face = font(size)
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(text: str, size: int, width: float, lines: int) -> list[str]:
    """`text` broken at spaces into at most `lines` lines of at most `width` pixels; what does not fit ends in `…`."""
    face, rest = font(size), text.split()
    out: list[str] = []
    while rest and len(out) < lines:
        take = 1
        while take < len(rest) and face.getlength(" ".join(rest[: take + 1])) <= width:
            take += 1
        if len(out) == lines - 1:
            take = len(rest)
        out.append(fit(" ".join(rest[:take]), size, width))
        rest = rest[take:]
    return out
