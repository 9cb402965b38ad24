"""Reading A1111 syntax into a flat list of events: text, brackets, breaks, and what changes from step to step."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from math import isfinite
from typing import Literal

from promptattn.prompt.switches import Switch

__all__ = [
    "DECIMAL",
    "NUMBER",
    "Backslash",
    "Begin",
    "Bracket",
    "BreakWord",
    "Close",
    "End",
    "Event",
    "Next",
    "Open",
    "Text",
    "factor",
    "plain_factor",
    "read_syntax",
]

# Decimal with an exponent that no prompt exhausts: a product of ten thousand factors neither overflows on the way,
# nor becomes inf * 0 where one of them is 0.
DECIMAL = Context(prec=28, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])
_PLAIN_FACTOR = {"(": Decimal("1.1"), "[": DECIMAL.divide(Decimal(1), Decimal("1.1"))}
_OPENING = {")": "(", "]": "["}

NUMBER = re.compile(r"[+-]?[.\d]+")
_LEXEME = re.compile(
    r"""
      \\ (?P<escaped> [\\()\[\]] )
    | (?P<backslash> \\ )
    | (?P<open> [(\[] )
    | : \s* (?P<number> """
    + NUMBER.pattern
    + r""" ) \s* \)
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


@dataclass(frozen=True, slots=True)
class Begin:
    """The first branch of a switch starts."""

    of: Switch


@dataclass(frozen=True, slots=True)
class Next:
    """The next branch of a switch starts."""

    of: Switch


@dataclass(frozen=True, slots=True)
class End:
    of: Switch


Event = Open | Close | BreakWord | Backslash | Text | Begin | Next | End


def read_syntax(text: str, switches: Iterable[Switch] = ()) -> list[Event]:
    """The events of `text` in order. Every bracket comes with its factor, the unclosed ones too. Linear time.

    `switches` are those of `find_switches`: their brackets, separators and numbers become `Begin`, `Next` and `End`.
    """
    marks = _marks(switches)
    events: list[Event] = []
    opened: dict[str, list[Bracket]] = {"(": [], "[": []}
    resume = 0  # where the number of a schedule ends, which is no text
    for lexeme in _LEXEME.finditer(text):
        start, end = lexeme.span()
        if start < resume:
            continue
        if start in marks and lexeme.lastgroup != "text":
            mark = marks[start]
            events.append(mark)
            if isinstance(mark, End):
                resume = mark.of.end
            continue
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
                events.extend(_split_text(text, start, end, marks))
    return events


def _marks(switches: Iterable[Switch]) -> dict[int, Begin | Next | End]:
    """The events of the switches by position; a schedule ends at the colon before its number."""
    marks: dict[int, Begin | Next | End] = {}
    for switch in switches:
        marks[switch.start] = Begin(switch)
        marks.update((place, Next(switch)) for place in switch.separators)
        marks[switch.end - 1 if switch.colon < 0 else switch.colon] = End(switch)
    return marks


def _close(bracket: Bracket, lexeme: re.Match[str]) -> list[Event]:
    start, bracket.end = lexeme.span()
    if lexeme["number"] is None:
        return [Close(bracket)]
    bracket.is_plain = False
    value = factor(lexeme["number"])
    if value is not None:
        bracket.factor = value
        return [Close(bracket)]
    bracket.bad_number = lexeme.span("number")
    return [Text(start, bracket.end - 1, "number"), Close(bracket)]


def factor(number: str) -> Decimal | None:
    """The value of `number`, or None where it is no decimal number or too large for a float."""
    value = DECIMAL.create_decimal(number)  # not a number where it cannot be read: this context traps nothing
    return value if value.is_finite() and isfinite(float(value)) else None


def plain_factor(kind: str) -> Decimal:
    """What a bracket without a number multiplies by."""
    return _PLAIN_FACTOR[kind]


def _split_text(text: str, start: int, end: int, marks: Mapping[int, Begin | Next | End]) -> Iterator[Event]:
    """The events of a run of text: only `|` among the marks can stand inside one."""
    while marks and start < end and (bar := text.find("|", start, end)) >= 0:
        if bar not in marks:
            yield from _split_breaks(text, start, bar + 1)
        else:
            yield from _split_breaks(text, start, bar)
            yield marks[bar]
        start = bar + 1
    yield from _split_breaks(text, start, end)


def _split_breaks(text: str, start: int, end: int) -> Iterator[Event]:
    # Everything beside this run of text is syntax, not a letter, so word boundaries in the run are those of the text.
    for word in _BREAK.finditer(text, start, end):
        if start < word.start():
            yield Text(start, word.start())
        yield BreakWord(*word.span())
        start = word.end()
    if start < end:
        yield Text(start, end)
