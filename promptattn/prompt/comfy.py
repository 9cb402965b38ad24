"""The prompt syntax of ComfyUI.

    (word)        weight x 1.1              \\( \\)             the character itself
    (word:1.2)    weight 1.2, whatever stands round it        [word], BREAK, AND, <lora:x:1>   text

A number is absolute: it replaces what the brackets round it say, where A1111 multiplies; a bracket without one still
multiplies, so `((a) b:2)` has `a` at 2.2. A number is what Python's `float` reads, `1e1` and `1_0` too, of whatever
stands behind the last colon. Anything else is text. A bracket that is never closed is text with all that follows it,
brackets included, unless the last character closes one: then it holds to there. After a closing bracket that closes
nothing, the next opening one opens nothing. Two backslashes are two backslashes.

Where this reader deliberately differs from ComfyUI's (`token_weights` of `comfy/sd1_clip.py`):

* `inf`, `nan` and numbers too large for a float are text and reported; ComfyUI hands them on to the model.
* Weights multiply in decimal, neighbours of equal weight are one span, empty spans are left out.
* `embedding:name` stays text and is reported. In ComfyUI it is a file; here a textual inversion is loaded with the
  pipeline's own `load_textual_inversion` and written by its token.
* Half a surrogate pair becomes U+FFFD.

Everything runs in linear time and without recursion, whatever the nesting.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import isfinite

from promptattn.prompt.assembly import exact_weight
from promptattn.prompt.diagnostics import Diagnostic, in_order
from promptattn.prompt.foreign import find_foreign
from promptattn.prompt.limits import find_absurd
from promptattn.prompt.mistakes import bad_number
from promptattn.prompt.nodes import Span
from promptattn.prompt.source import clean_characters, unescaped
from promptattn.prompt.syntax import DECIMAL
from promptattn.prompt.tree import Prompt

__all__ = ["parse_comfy"]

_BRACKET = re.compile(r"(?<!\\)[()]")
_ESCAPE = re.compile(r"\\(?=[()])")
_PLAIN = Decimal("1.1")
_EMBEDDING = re.compile(r"(?<!\S)embedding:[^\s()]+")


def parse_comfy(written: str) -> Prompt:
    """Read `written` in ComfyUI's syntax (this module's docstring). Never fails; see `.diagnostics` for findings."""
    source = clean_characters(written)
    text, brackets = source.text, _match(source.text)
    found = [*brackets.diagnostics, *_embeddings(text), *find_foreign(text, "comfy")]
    spans: list[Span] = []
    late: list[Diagnostic] = []
    for start, end, weight in _regions(text, brackets, found):
        places = unescaped(text, _ESCAPE, start, end)
        if places:
            number = exact_weight(weight, (start, end), late)
            letters = "".join(text[place] for place in places)
            spans.append(Span(letters, number, places[0], places[-1] + 1, tuple(places)))
    prompt = Prompt(tuple(spans), source=written)
    return replace(prompt, diagnostics=in_order([*source.diagnostics, *found, *late, *find_absurd(prompt)]))


@dataclass(slots=True)
class _Brackets:
    """Of each opening bracket where it is closed; the opening ones that open nothing; findings about both."""

    closed: dict[int, int] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    diagnostics: list[Diagnostic] = field(default_factory=list)


def _match(text: str) -> _Brackets:
    found = _Brackets()
    opened: list[int] = []
    stray = 0  # closing brackets that closed nothing; each robs an opening one of its meaning
    for mark in _BRACKET.finditer(text):
        place = mark.start()
        if mark[0] == ")" and opened:
            found.closed[opened.pop()] = place
        elif mark[0] == ")":
            stray += 1
            message = "')' was never opened and stays in the text, as does the next '('; write \\) for the character"
            found.diagnostics.append(Diagnostic("stray-bracket", message, place, place + 1))
        elif stray:
            stray -= 1
            found.dead.add(place)
        else:
            opened.append(place)
    if opened:
        message = "'(' is never closed; it stays in the text with what follows it; write \\( for the character"
        found.diagnostics.append(Diagnostic("unclosed-bracket", message, opened[0], opened[0] + 1))
    return found


def _regions(text: str, brackets: _Brackets, found: list[Diagnostic]) -> Iterator[tuple[int, int, Decimal]]:
    """The runs of text that no bracket parts, in order, with their weights."""
    opening = [mark.start() for mark in _BRACKET.finditer(text) if mark[0] == "(" and mark.start() not in brackets.dead]
    last_colon, last_bracket = _last(text, ":"), _last(text, "()")
    following = 0  # the next of `opening`
    waiting = [(0, len(text), Decimal(1))]
    while waiting:
        start, end, weight = waiting.pop()
        while following < len(opening) and opening[following] < start:
            following += 1
        first = opening[following] if following < len(opening) else end
        if first >= end:
            yield start, end, weight
            continue
        yield start, first, weight
        close = brackets.closed.get(first, end)
        if close >= end:  # not closed in here
            if end - first < 2 or text[end - 1] != ")" or text[end - 2] == "\\":
                yield first, end, weight
                continue
            close = end - 1
        inner, number = close, None
        colon = last_colon[close]
        if colon > first + 1 and last_bracket[close] < colon:
            number = _number(text, colon + 1, close, found)
            inner = close if number is None else colon
        waiting.append((close + 1, end, weight))
        waiting.append((first + 1, inner, DECIMAL.multiply(weight, _PLAIN) if number is None else number))


def _last(text: str, characters: str) -> list[int]:
    """For each position the last place before it where one of `characters` stands; -1 before the first."""
    places, last = [-1], -1
    for place, character in enumerate(text):
        if character in characters:
            last = place
        places.append(last)
    return places


def _number(text: str, start: int, end: int, found: list[Diagnostic]) -> Decimal | None:
    """The weight that stands there, or None; what was probably meant for one is added to `found`."""
    written = text[start:end]
    try:
        value = float(written)
    except ValueError:
        if not _looks_like_weight(written):
            return None
    else:
        if isfinite(value):
            return DECIMAL.create_decimal(repr(value))
    found.append(bad_number(text, start, end))
    return None


def _looks_like_weight(written: str) -> bool:
    return not written.strip() or (not written[0].isspace() and len(written.split()) == 1)


def _embeddings(text: str) -> Iterator[Diagnostic]:
    for name in _EMBEDDING.finditer(text):
        message = (
            f"{name[0][:60]!r} is read as text; load the embedding with the pipeline's own load_textual_inversion and "
            "write its token"
        )
        yield Diagnostic("embedding", message, *name.span())
