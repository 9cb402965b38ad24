"""What the page says to the person, as HTML: problems, notes, and how a run went."""

import re
from collections.abc import Iterable
from html import escape

__all__ = ["notes", "problem", "said", "shown_as_text"]

_HALF = re.compile("[\ud800-\udfff]")


def shown_as_text(text: str) -> str:
    """Text as HTML that shows it and nothing else; half a surrogate pair, which cannot be sent, is U+FFFD."""
    return escape(_HALF.sub("\ufffd", text))


def problem(message: str) -> str:
    """Something that did not work, and why."""
    return f'<p class="pa-problem" role="alert">{shown_as_text(message)}</p>'


def said(message: str) -> str:
    """Something that is so."""
    return f'<p class="pa-said" role="status">{shown_as_text(message)}</p>'


def notes(messages: Iterable[str]) -> str:
    """Things to know, one a line."""
    items = "".join(f"<li>{shown_as_text(each)}</li>" for each in messages)
    return f'<ul class="pa-notes">{items}</ul>' if items else ""
