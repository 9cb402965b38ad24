"""`a AND b:0.5` in A1111 syntax: the text cut at every `AND`, and the weight at the end of each piece read.

After `get_multicond_prompt_list` of A1111's `modules/prompt_parser.py`, which does this before anything else, so that
brackets do not hold across an `AND`. Two differences: the number of `10:30` or `16:9`, a colon between digits, is no
weight here; and a prompt without `AND` has no weight of its own (A1111 reads `a cat:1.5` as the whole prompt at 1.5,
but takes the same text for text as a negative prompt).
"""

import re
from dataclasses import dataclass
from math import isfinite

from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.source import CleanSource

__all__ = ["AND", "Piece", "ends_like_weight", "split_at_and"]

AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"\s*(?P<number>[+-]?(?:\d+\.?|\d*\.\d+))")


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of one part of a prompt, its weight, and findings about that (positions in the text as written)."""

    source: CleanSource
    weight: float = 1.0
    diagnostics: tuple[Diagnostic, ...] = ()


def split_at_and(source: CleanSource) -> list[Piece]:
    """The pieces of the text between its `AND`s; one piece, the whole, where there is none."""
    cuts = list(AND.finditer(source.text))
    if not cuts:
        return [Piece(source)]
    starts = [0, *(cut.end() for cut in cuts)]
    ends = [*(cut.start() for cut in cuts), len(source.text)]
    return [_weighed(source, start, end) for start, end in zip(starts, ends, strict=True)]


def ends_like_weight(text: str) -> bool:
    """Whether a reader of `text` as one of several pieces would look for a weight at its end."""
    return _tail(text) is not None


def _tail(text: str) -> tuple[int, str] | None:
    """The place of the last colon and the number behind it, where the text ends in one."""
    text = text.rstrip()
    colon = text.rfind(":")
    match = _WEIGHT.fullmatch(text, colon + 1) if colon >= 0 else None
    return (colon, match["number"]) if match else None


def _weighed(source: CleanSource, start: int, end: int) -> Piece:
    text = source.text[start:end]
    tail = _tail(text)
    if tail is None:
        return Piece(source.piece(start, end))
    colon, number = tail
    place = source.origins[start + colon], source.origins[start + len(text.rstrip()) - 1] + 1
    if text[:colon][-1:].isdigit() and text[colon + 1].isdigit():
        message = f"a colon between digits is text, so {number} is no weight of this part; write ' :{number}' for one"
        return Piece(source.piece(start, end), diagnostics=(Diagnostic("digits-colon", message, *place, "info"),))
    weight = float(number)
    if not isfinite(weight):
        message = "this number is too large for the weight of a part; it is read as text"
        return Piece(source.piece(start, end), diagnostics=(Diagnostic("bad-number", message, *place),))
    return Piece(source.piece(start, start + len(text[:colon].rstrip())), weight)
