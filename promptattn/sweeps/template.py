"""A prompt with sweeps in braces: `a (red:{0.5..2.0:0.25}) {cat,dog}`.

    {0.5..2.0:0.25}     the numbers from 0.5 to 2.0, also downwards; between whole numbers {1..5} will do
    {red,blue,green}    one after the other; an empty one, {,red}, is nothing
    \\{  \\}  \\,          the character itself

Whatever else stands in braces is text, and the braces with it. The prompt round a sweep may be in any syntax: what is
swept is put into its text before it is read.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from promptattn.errors import PromptSyntaxError
from promptattn.prompt import Diagnostic
from promptattn.sweeps.ranges import RangeError, looks_like_range, range_values

__all__ = ["Axis", "Filled", "Template", "read_template"]

_PIECE = re.compile(r"\\(?P<escaped>.)|(?P<brace>[{}])", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_COMMA = re.compile(r"\\.|,", re.DOTALL)


@dataclass(frozen=True)
class Axis:
    """One sweep: its `values`, as they are put into the prompt, and the braces as they were `written`."""

    values: tuple[str, ...]
    written: str


@dataclass(frozen=True)
class Filled:
    """A template with values in place of its sweeps; `places` are the ranges (start, end) in `text` of each."""

    text: str
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Template:
    """A prompt as text and sweeps in turn."""

    pieces: tuple[str | Axis, ...]
    source: str

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The sweeps, in order."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Axis))

    def fill(self, values: Sequence[str]) -> Filled:
        """The prompt with one value for each of `axes`."""
        rest = iter(values)
        text, places = "", []
        for piece in self.pieces:
            part = piece if isinstance(piece, str) else next(rest)
            if isinstance(piece, Axis):
                places.append((len(text), len(text) + len(part)))
            text += part
        return Filled(text, tuple(places))


def read_template(text: str, most: int) -> Template:
    """Read a prompt with any number of sweeps in braces, of at most `most` values each.

    Raises `PromptSyntaxError`, pointing at the place, for braces that do not pair up or nest, and for a sweep that
    cannot be: a number that is none, a step of 0, too many values, the same value twice.
    """
    return Template(tuple(_pieces(text, most)), text)


def _pieces(text: str, most: int) -> Iterator[str | Axis]:
    opened: int | None = None
    last = 0  # what stands before it was given out
    for found in _PIECE.finditer(text):
        start, end = found.span()
        if found["escaped"]:
            continue
        if found["brace"] == "{":
            if opened is not None:
                raise _wrong(text, start, end, "braces do not nest; write \\{ for one that is text")
            opened = start
        elif opened is None:
            raise _wrong(text, start, end, "this brace closes nothing; write \\} for one that is text")
        else:
            axis = _axis(text, opened, end, most)
            if axis is not None:
                yield _plain(text[last:opened])
                yield axis
                last = end
            opened = None
    if opened is not None:
        raise _wrong(text, opened, opened + 1, "this brace is never closed; write \\{ for one that is text")
    yield _plain(text[last:])


def _axis(text: str, start: int, end: int, most: int) -> Axis | None:
    """The sweep in the braces `text[start:end]`, or None where they hold none."""
    inside = text[start + 1 : end - 1]
    if looks_like_range(inside):
        try:
            return Axis(range_values(inside, most), text[start:end])
        except RangeError as error:
            raise _wrong(text, start, end, f"this sweep {error}") from None
    items = _items(inside)
    if len(items) == 1:
        return None
    if any(looks_like_range(item) for item in items):
        message = "this sweep is both a range and a list; write {0.5..2:0.25} or {0.5,1,2}, decimals with a point"
        raise _wrong(text, start, end, message)
    values = tuple(_plain(item.strip(), "{},") for item in items)
    if twice := [value for value in values if values.count(value) > 1]:
        raise _wrong(text, start, end, f"this sweep has {twice[0]!r} twice, which would make the same image")
    if len(values) > most:
        raise _wrong(text, start, end, f"this sweep has {len(values)} values, and {most} are the most")
    return Axis(values, text[start:end])


def _items(inside: str) -> list[str]:
    cuts = [found.start() for found in _COMMA.finditer(inside) if found[0] == ","]
    return [inside[before + 1 : cut] for before, cut in pairwise([-1, *cuts, len(inside)])]


def _plain(text: str, escaped: str = "{}") -> str:
    """`text` without the backslashes before what only this module escapes; all others are the prompt's own."""
    return _ESCAPED.sub(lambda found: found[1] if found[1] in escaped else found[0], text)


def _wrong(text: str, start: int, end: int, message: str) -> PromptSyntaxError:
    return PromptSyntaxError(f"{message}\n{Diagnostic('sweep', message, start, end).pointer(text)}")
