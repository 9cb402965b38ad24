"""Where a text in A1111 syntax changes from step to step: `[to:when]`, `[from:to:when]`, `[from::when]`, `[a|b]`.

What makes a square bracket one of these (after the grammar of A1111's `modules/prompt_parser.py`): the brackets inside
it pair up without crossing, and at its own level it has either `|`, or one or two colons with a number after the last.
A number with a point is a share of all steps, one without is a number of steps. A backslash makes the character after
it no separator.
"""

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from promptattn.prompt.canonical import MAX_NESTING
from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.numbers import short_number

__all__ = ["Structure", "Switch", "find_switches"]

_MARK = re.compile(r"\\.|[()\[\]:|]", re.DOTALL)
_NUMBER = re.compile(r"\s*(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")
_MISUSED = re.compile(r"\s*(?:[+-]?[\d.,]*\d[\w.,%+-]*|[+-]?(?:inf|infinity|nan))\s*", re.IGNORECASE)


@dataclass(slots=True, eq=False)
class Switch:
    """A square bracket that changes from step to step; `end` is behind its closing bracket.

    `separators` are the positions between its branches. A schedule has besides the position of the colon before its
    number, and what that says: `when`, in `unit`.
    """

    kind: Literal["schedule", "alternate"]
    start: int
    end: int
    separators: tuple[int, ...]
    colon: int = -1
    when: float = 0.0
    unit: Literal["step", "fraction"] = "step"


@dataclass(slots=True)
class Structure:
    """The switches of a text by position, the brackets that pair up without crossing, and what looked like a switch."""

    switches: list[Switch] = field(default_factory=list)
    pairs: dict[int, int] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)


@dataclass(slots=True)
class _Open:
    bracket: str
    start: int
    colons: list[int] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)


def find_switches(text: str) -> Structure:
    """The brackets of `text` that change from step to step. Linear time."""
    found = Structure()
    opened: list[_Open] = []
    for mark in _MARK.finditer(text):
        match mark[0]:
            case "(" | "[":
                opened.append(_Open(mark[0], mark.start()))
            case ":" if opened:
                opened[-1].colons.append(mark.start())
            case "|" if opened:
                opened[-1].bars.append(mark.start())
            case ")" | "]" if opened and opened[-1].bracket == ("(" if mark[0] == ")" else "["):
                bracket = opened.pop()
                found.pairs[bracket.start] = mark.end()
                if bracket.bracket == "[":
                    _judge(text, bracket, mark.end(), found)
            case ")" | "]":
                opened.clear()  # it is text, and no bracket that is still open can pair up across it
            case _:
                pass
    found.switches = _not_too_deep(found)
    return found


def _judge(text: str, bracket: _Open, end: int, found: Structure) -> None:
    """Add the square bracket to what was found, as a switch or as something that was perhaps meant for one."""
    start, colons, bars = bracket.start, bracket.colons, bracket.bars
    if bars and not colons:
        found.switches.append(Switch("alternate", start, end, tuple(bars)))
        return
    if bars:
        _refuse(found, start, end, "'|' and ':' cannot be mixed in one bracket; write \\| or \\: for the character")
        return
    if not colons:
        return
    number = _NUMBER.fullmatch(text, colons[-1] + 1, end - 1)
    when = float(number["number"]) if number else 0.0
    if number and isfinite(when) and len(colons) <= 2:
        is_share = "." in number["number"]
        unit: Literal["step", "fraction"] = "fraction" if is_share else "step"
        exact = when if is_share else float(int(when))
        found.switches.append(Switch("schedule", start, end, tuple(colons[:-1]), colons[-1], exact, unit))
    elif number and isfinite(when):
        _refuse(found, start, end, "[from:to:when] has two colons at most; write \\: for the character")
    elif number or _MISUSED.fullmatch(text, colons[-1] + 1, end - 1) or _is_one_word(text, colons, end):
        written = text[colons[-1] + 1 : end - 1].strip()
        _refuse(found, start, end, f"{short_number(written)!r} is no number of steps (10) and no share of them (0.4)")


def _is_one_word(text: str, colons: list[int], end: int) -> bool:
    """Whether one word stands where the number of `[from:to:when]` would: `[cat:dog:half]`."""
    word = text[colons[-1] + 1 : end - 1]
    return len(colons) == 2 and not word[:1].isspace() and len(word.split()) <= 1


def _refuse(found: Structure, start: int, end: int, why: str) -> None:
    message = f"this is no schedule: {why}; it is read as text in a plain bracket"
    found.diagnostics.append(Diagnostic("bad-schedule", message, start, end))


def _not_too_deep(found: Structure) -> list[Switch]:
    """The switches in the order of the text, without those inside too many others."""
    kept: list[Switch] = []
    around: list[int] = []  # where the switches round the current place end
    said = -1
    for switch in sorted(found.switches, key=lambda switch: switch.start):
        while around and around[-1] <= switch.start:
            around.pop()
        if len(around) < MAX_NESTING:
            kept.append(switch)
            around.append(switch.end)
        elif switch.start >= said:
            message = f"schedules are read {MAX_NESTING} deep; those further inside are text in plain brackets"
            found.diagnostics.append(Diagnostic("deep-schedule", message, switch.start, switch.end))
            said = switch.end
    return kept
