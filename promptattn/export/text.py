"""Text in pictures, with the font that Pillow brings along, so that a picture is the same on every machine."""

import unicodedata
from functools import lru_cache
from typing import Any

from PIL import ImageDraw, ImageFont

__all__ = ["Draw", "drawable", "fit", "font", "wrap"]

Draw = ImageDraw.ImageDraw


@lru_cache(maxsize=32)
def font(size: int) -> Any:
    """Pillow's own font (Aileron, Latin with accents) at a size in pixels."""
    return ImageFont.load_default(size)


@lru_cache(maxsize=4096)
def _has_glyph(character: str) -> bool:
    if character.isspace():
        return True
    face = font(24)
    return bytes(face.getmask(character)) != bytes(face.getmask("\uffff"))


def drawable(text: str, fallback: str) -> str:
    """`text` composed and on one line, or `fallback` where the font lacks a character (emoji, other scripts)."""
    plain = unicodedata.normalize("NFC", " ".join(text.split()))
    if any("\ud800" <= character <= "\udfff" or unicodedata.category(character)[0] == "C" for character in plain):
        return fallback
    return plain if plain and all(_has_glyph(character) for character in plain) else fallback


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
    face, out, rest = font(size), [], text.split()
    while rest and len(out) < lines:
        take = 1
        while take < len(rest) and face.getlength(" ".join(rest[: take + 1])) <= width:
            take += 1
        if len(out) == lines - 1:
            take = len(rest)
        out.append(fit(" ".join(rest[:take]), size, width))
        rest = rest[take:]
    return out
