"""File names from words: safe on every file system, whatever the prompt holds."""

import re
import unicodedata

__all__ = ["safe_name", "slug"]


def safe_name(index: int, text: str) -> str:
    """`003_raton` for word 3, "ratón": an index, and what ASCII keeps of the text; emoji and `../` leave the index."""
    name = slug(text)
    return f"{index:03d}_{name}" if name else f"{index:03d}"


def slug(text: str) -> str:
    """`un-gato-rojo`: what ASCII keeps of the first characters of a text, or nothing."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text.lower()).strip("-")[:32].rstrip("-")
