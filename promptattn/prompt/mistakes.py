"""Findings about A1111 syntax: what in a prompt looks like a slip, or has no effect that its writer may count on.

Positions are those of the text given; the reader moves them to the text as the user wrote it.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import groupby, pairwise

from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.letters import is_letter, join_to_one_word
from promptattn.prompt.numbers import short_number
from promptattn.prompt.syntax import Backslash, Begin, Bracket, BreakWord, Close, End, Event, Next, Open, Text

__all__ = ["bad_number", "find_mistakes"]

_LOOSE_NUMBER = re.compile(r":[ ]?[+-]?\d*\.\d+(?![\w.:\]])")
_NUMBER_ATTEMPT = re.compile(r"[+-]?[\d.,]*\d[\d.,eE+-]*%?|[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
# A backslash with a purpose: without it, this would be no text, here or in the `parameters` text of an image.
_KEPT_AS_TEXT = re.compile(
    r"(?:\bA(?=\\ND\b)|\bB(?=\\REAK\b)|<(?=\\(?i:lora|lyco|hypernet):)|^(?=\\Negative prompt:))(?P<backslash>\\)",
    re.MULTILINE,
)
_FULL_WIDTH = re.compile("[（）［］]+")


def find_mistakes(text: str, events: list[Event]) -> list[Diagnostic]:
    """Every finding about the syntax of `text`, given its events. Linear time."""
    loose = list(_loose_numbers(text, events))
    # A number behind a bracket that is never closed is no slip of its own.
    unclosed = min(_unclosed(events), default=len(text))
    return [
        *_unpaired(text, events, loose),
        *_crossing(events),
        *_empty_brackets(text, events),
        *_bad_numbers(text, events),
        *(_loose_number(text, place) for place in loose if place[0] < unclosed),
        *_glued(text, events),
        *_small_things(text, events),
    ]


def _unclosed(events: list[Event]) -> list[int]:
    return [e.bracket.start for e in events if isinstance(e, Open) and e.bracket.end < 0]


def _unpaired(text: str, events: list[Event], loose: list[tuple[int, int]]) -> Iterator[Diagnostic]:
    """Brackets never closed and brackets never opened; a row of them is one finding.

    `loose` are the places of numbers that stand in no bracket: one behind a bracket tells what was meant by it.
    """
    for (start, end), (until, _) in pairwise([*_rows(_unclosed(events)), (len(text), len(text))]):
        behind = bisect_left(loose, (end, end))
        number = loose[behind] if behind < len(loose) and loose[behind][0] < until else None
        weigh = f"(word{short_number(text[slice(*number)])}) to weigh, or " if number else ""
        what = f"{_shown(text, start, end)} is never closed and holds to the end"
        message = f"{what}; write {weigh}\\( or \\[ for the character"
        yield Diagnostic("unclosed-bracket", message, start, end)
    stray = [e.end - 1 for e in events if isinstance(e, Text) and e.role == "stray"]
    for start, end in _rows(stray):
        message = (
            f"{_shown(text, start, end)} was never opened and stays in the text; write \\) or \\] for the character"
        )
        yield Diagnostic("stray-bracket", message, start, end)


def _shown(text: str, start: int, end: int) -> str:
    return repr(text[start:end]) if end - start <= 8 else f"a row of {end - start} brackets"


def _rows(positions: list[int]) -> Iterator[tuple[int, int]]:
    """Consecutive positions as ranges."""
    for _, row in groupby(enumerate(positions), key=lambda item: item[1] - item[0]):
        members = [position for _, position in row]
        yield members[0], members[-1] + 1


def _crossing(events: list[Event]) -> Iterator[Diagnostic]:
    stack: list[Bracket] = []
    closed: set[int] = set()
    for event in events:
        if isinstance(event, Open):
            stack.append(event.bracket)
        elif isinstance(event, Close):
            while stack[-1].start in closed:
                stack.pop()
            inner, closing = stack[-1], event.bracket
            if inner is not closing and inner.end >= 0:
                message = f"the brackets '{closing.kind}' and '{inner.kind}' cross; each holds to its own closing one"
                yield Diagnostic("crossing-brackets", message, inner.start, closing.end)
            closed.add(closing.start)


def _empty_brackets(text: str, events: list[Event]) -> Iterator[Diagnostic]:
    bare: Bracket | None = None  # the bracket opened last, if nothing but whitespace came since
    for event in events:
        if isinstance(event, Open):
            bare = event.bracket
        elif isinstance(event, Close):
            if event.bracket is bare:
                yield Diagnostic("empty-brackets", "there is nothing in these brackets to weigh", bare.start, bare.end)
            bare = None
        elif not (isinstance(event, Text) and text[event.start : event.end].isspace()):
            bare = None


def _bad_numbers(text: str, events: list[Event]) -> Iterator[Diagnostic]:
    """Weights that cannot be read as numbers."""
    for index, event in enumerate(events):
        if isinstance(event, Close) and event.bracket.bad_number is not None:
            start, end = event.bracket.bad_number
            yield bad_number(text, start, end)
        elif isinstance(event, Close) and event.bracket.kind == "(" and event.bracket.is_plain:
            tail = _after_colon(events[max(0, index - 2) : index], event.bracket)
            if tail is not None and _looks_like_weight(text[tail[0] : tail[1]]):
                yield bad_number(text, *tail)


def _loose_numbers(text: str, events: list[Event]) -> Iterator[tuple[int, int]]:
    """Where numbers such as the `:1.2` of `red:1.2` stand outside brackets."""
    for event in events:
        if isinstance(event, Text) and event.role == "colon" and event.start and is_letter(text[event.start - 1]):
            loose = _LOOSE_NUMBER.match(text, event.start)
            if loose:
                yield loose.span()


def _loose_number(text: str, place: tuple[int, int]) -> Diagnostic:
    number = short_number(text[slice(*place)])
    message = f"{number!r} stands outside brackets and stays in the text; write (word{number}) to weigh"
    return Diagnostic("loose-number", message, *place)


def _after_colon(before: list[Event], closed: Bracket) -> tuple[int, int] | None:
    """The range from a colon to the end of `closed`, if only plain text stands there; `before` are the last events."""
    for event in reversed(before):
        if isinstance(event, Text) and event.role == "colon":
            return event.end, closed.end - 1
        if not (isinstance(event, Text) and event.role == "plain"):
            return None
    return None


def _looks_like_weight(tail: str) -> bool:
    word = tail.strip()
    return not word or bool(_NUMBER_ATTEMPT.fullmatch(word)) or (not tail[0].isspace() and len(word.split()) == 1)


def bad_number(text: str, start: int, end: int) -> Diagnostic:
    """What to say of `text[start:end]`, where a weight stands that cannot be used, or none at all."""
    written = text[start:end].strip()
    shown = repr(short_number(written))
    what = f"{shown} is not a weight that can be used" if written else "the weight after ':' is missing"
    message = f"{what}; the text stays as it is, its brackets count as plain ones (write a decimal such as 1.2)"
    return Diagnostic("bad-number", message, start if written else start - 1, max(end, start))


def _glued(text: str, events: list[Event]) -> Iterator[Diagnostic]:
    """Two letters that touch once the brackets between them are gone."""
    before: Text | None = None
    bracket_between = False
    for event in events:
        if isinstance(event, Text):
            if before is not None and bracket_between and join_to_one_word(text[before.end - 1], text[event.start]):
                start, end = _last_word(text, before), _first_word(text, event)
                glued = f"{text[start : before.end]}{text[event.start : end]}"
                message = f"{glued[:60]!r} becomes one word once the brackets are taken away; add a space to part it"
                yield Diagnostic("glued-words", message, start, end)
            before, bracket_between = event, False
        elif isinstance(event, BreakWord | Begin | Next | End):
            before = None  # across a switch it may be meant: [fe|]male
        elif not isinstance(event, Backslash):
            bracket_between = True


def _last_word(text: str, piece: Text) -> int:
    """Where the word at the end of the piece starts."""
    start = piece.end - 1
    while start > piece.start and is_letter(text[start - 1]):
        start -= 1
    return start


def _first_word(text: str, piece: Text) -> int:
    """Where the word at the start of the piece ends."""
    end = piece.start + 1
    while end < piece.end and is_letter(text[end]):
        end += 1
    return end


def _small_things(text: str, events: list[Event]) -> Iterator[Diagnostic]:
    meant = {word.start("backslash") for word in _KEPT_AS_TEXT.finditer(text)}
    for event in events:
        if isinstance(event, Backslash):
            if event.start in meant:
                continue
            message = "a backslash before an ordinary character is dropped; write \\\\ for a backslash"
            yield Diagnostic("backslash", message, event.start, event.end, "info")
    for brackets in _FULL_WIDTH.finditer(text):
        message = f"{brackets[0]!r:.60} is full-width and stays text; weights are written with ( ) and [ ]"
        yield Diagnostic("full-width-bracket", message, *brackets.span(), "info")
