"""Words that mean something in A1111 syntax and are text in the others."""

import re
from collections.abc import Iterator

from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.source import TAG_START

__all__ = ["find_foreign"]

_FOREIGN = re.compile(rf"\bBREAK\b|\bAND\b|{TAG_START}[^<>]+>")


def find_foreign(text: str, syntax: str) -> Iterator[Diagnostic]:
    """A finding (`info`) for each `BREAK`, `AND` and `<lora:...>` of `text`."""
    for word in _FOREIGN.finditer(text):
        message = f"{word[0][:60]!r} is text in {syntax} syntax; it has a meaning in a1111 syntax only"
        yield Diagnostic("foreign-syntax", message, *word.span(), "info")
