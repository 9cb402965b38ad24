"""What the page says to the person, as HTML: problems, notes, and how a run went."""

from collections.abc import Iterable
from html import escape

__all__ = ["notes", "problem", "said"]


def problem(message: str) -> str:
    """Something that did not work, and why."""
    return f'<p class="pa-problem" role="alert">{escape(message)}</p>'


def said(message: str) -> str:
    """Something that is so."""
    return f'<p class="pa-said" role="status">{escape(message)}</p>'


def notes(messages: Iterable[str]) -> str:
    """Things to know, one a line."""
    items = "".join(f"<li>{escape(each)}</li>" for each in messages)
    return f'<ul class="pa-notes">{items}</ul>' if items else ""
