"""Reading A1111 syntax into a flat list of events: text, opening and closing brackets, breaks."""

import re
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from math import isfinite
from typing import Literal

__all__ = ["DECIMAL", "Backslash", "Bracket", "BreakWord", "Close", "Event", "Open", "Text", "read_syntax"]

# Decimal with an exponent that no prompt exhausts: a product of ten thousand factors neither overflows on the way,
# nor becomes inf * 0 where one of them is 0.
DECIMAL = Context(prec=28, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_PLAIN_FACTOR = {"(": Decimal("1.1"), "[": DECIMAL.divide(Decimal(1), Decimal("1.1"))}
_OPENING = {")": "(", "]": "["}

_LEXEME = re.compile(
    r"""
      \\ (?P<escaped> [\\()\[\]] )
    | (?P<backslash> \\ )
    | (?P<open> [(\[] )
    | : \s* (?P<number> [+-]?[.\d]+ ) \s* \)
    | (?P<close> [)\]] )
    | (?P<colon> : )
    | (?P<text> [^\\()\[\]:]+ )
    """,
    re.VERBOSE,
)
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(slots=True)
class Bracket:
    """A pair of brackets: where it opens and ends (-1 while it does not), and what it multiplies by.

    `is_plain` says that no number stood before the closing bracket; `bad_number` is the range of one that could not
    be used and is kept as text.
    """

    kind: str
    start: int
    end: int = -1
    factor: Decimal = Decimal(1)
    is_plain: bool = True
    bad_number: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Open:
    bracket: Bracket


@dataclass(frozen=True, slots=True)
class Close:
    bracket: Bracket


@dataclass(frozen=True, slots=True)
class BreakWord:
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Backslash:
    """A lone backslash, which is dropped."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Text:
    """Characters that stay text, and why they might have been something else."""

    start: int
    end: int
    role: Literal["plain", "colon", "escaped", "stray", "number"] = "plain"


Event = Open | Close | BreakWord | Backslash | Text


def read_syntax(text: str) -> list[Event]:
    """The events of `text` in order. Every bracket comes with its factor, the unclosed ones too. Linear time."""
    events: list[Event] = []
    opened: dict[str, list[Bracket]] = {"(": [], "[": []}
    for lexeme in _LEXEME.finditer(text):
        start, end = lexeme.span()
        match lexeme.lastgroup:
            case "escaped":
                events.append(Text(start + 1, end, "escaped"))
            case "backslash":
                events.append(Backslash(start, end))
            case "open":
                bracket = Bracket(text[start], start, factor=_PLAIN_FACTOR[text[start]])
                opened[bracket.kind].append(bracket)
                events.append(Open(bracket))
            case "number" | "close":
                stack = opened[_OPENING[text[end - 1]]]
                if not stack:
                    events.append(Text(start, end, "stray"))
                    continue
                events.extend(_close(stack.pop(), lexeme))
            case "colon":
                events.append(Text(start, end, "colon"))
            case _:
                events.extend(_split_breaks(text, start, end))
    return events


def _close(bracket: Bracket, lexeme: re.Match[str]) -> list[Event]:
    start, bracket.end = lexeme.span()
    if lexeme["number"] is None:
        return [Close(bracket)]
    bracket.is_plain = False
    factor = _factor(lexeme["number"])
    if factor is not None:
        bracket.factor = factor
        return [Close(bracket)]
    bracket.bad_number = lexeme.span("number")
    return [Text(start, bracket.end - 1, "number"), Close(bracket)]


def _factor(number: str) -> Decimal | None:
    """The value of `number`, or None where it is no decimal number or too large for a float."""
    value = DECIMAL.create_decimal(number)  # not a number where it cannot be read: this context traps nothing
    return value if value.is_finite() and isfinite(float(value)) else None


def _split_breaks(text: str, start: int, end: int) -> list[Event]:
    # Everything beside this run of text is syntax, not a letter, so word boundaries in the run are those of the text.
    events: list[Event] = []
    for word in _BREAK.finditer(text, start, end):
        if start < word.start():
            events.append(Text(start, word.start()))
        events.append(BreakWord(*word.span()))
        start = word.end()
    if start < end:
        events.append(Text(start, end))
    return events
