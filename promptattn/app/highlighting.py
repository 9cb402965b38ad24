"""A prompt as its writer typed it, each character shaded by its weight, as HTML.

What is shown is the text itself, character for character: what the syntax takes as brackets and numbers is faint, what
a finding is about is underlined, what no text encoder reads is dotted, and nothing of the text is ever markup. A mark
stands where a text encoder's next window begins; it is no text, and is not copied with it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from promptattn.app.messages import notes, shown_as_text
from promptattn.app.readings import Reading
from promptattn.prompt import Prompt
from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.timeline import all_spans

__all__ = ["highlighted", "unreadable"]

# From here up a shade is at its darkest; below 0 there is one shade.
_MOST = 2.0


@dataclass(frozen=True)
class _Character:
    """How one character is shown.

    Attributes:
        weight: None for what is syntax.
        finding: the message about it, if there is one.
        lost: who does not read it, if anybody.
        window: changes where a window begins.
    """

    text: str
    weight: float | None
    finding: str | None
    lost: str | None
    window: int


def highlighted(prompt: Prompt, syntax: str, readings: Sequence[Reading] = ()) -> str:
    """The text that the prompt was read from as HTML, with its findings below it."""
    source = prompt.source or ""
    borders = _borders(readings)
    found = [*prompt.diagnostics, *(each for reading in readings for each in reading.findings)]
    place, shown = 0, []
    for run in _runs(source, prompt, found, readings, borders):
        shown += [borders.get(place, ""), _run(run)]
        place += len(run)
    messages = list(dict.fromkeys(each.message for each in found))
    return f'<div class="pa-text" data-syntax="{escape(syntax)}">{"".join(shown)}</div>{notes(messages)}'


def unreadable(source: str, reason: str) -> str:
    """A text that cannot be read, with the reason."""
    return f'<div class="pa-text">{shown_as_text(source)}</div>{notes([reason])}'


def _runs(
    source: str, prompt: Prompt, found: Sequence[Diagnostic], readings: Sequence[Reading], borders: dict[int, str]
) -> Iterator[list[_Character]]:
    """Neighbours that are shown alike."""
    weights: list[float | None] = [None] * len(source)
    for span in all_spans(prompt):
        for place in span.origins:
            weights[place] = span.weight
    findings: list[str | None] = [None] * len(source)
    for each in reversed(found):  # the first about a place is the one that is told there
        findings[each.start : each.end] = [each.message] * (each.end - each.start)
    windows, window = [], 0
    for place in range(len(source)):
        window += place in borders
        windows.append(window)
    shown = map(_Character, source, weights, findings, _lost(source, readings), windows)
    for _, run in groupby(shown, key=lambda each: (each.weight, each.finding, each.lost, each.window)):
        yield list(run)


def _borders(readings: Sequence[Reading]) -> dict[int, str]:
    """The mark at each place where a window begins; which encoder's is told where it is not that of all."""
    begins: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for reading in readings:
        for place, window in reading.borders.items():
            begins[place][window].append(reading.encoder)
    marks = {}
    for place, windows in begins.items():
        labels = [
            f"window {window} begins here" + ("" if len(encoders) == len(readings) else f" in {' and '.join(encoders)}")
            for window, encoders in sorted(windows.items())
        ]
        label, numbers = escape("; ".join(labels)), "/".join(map(str, sorted(windows)))
        marks[place] = (
            f'<span class="pa-border" role="img" aria-label="{label}" title="{label}" data-window="{numbers}"></span>'
        )
    return marks


def _lost(source: str, readings: Sequence[Reading]) -> list[str | None]:
    """Of each character who does not read it."""
    lost: list[list[str]] = [[] for _ in source]
    for reading in readings:
        for place in reading.lost:
            lost[place].append(reading.encoder)
    return [
        None if not names else "cut off" if len(names) == len(readings) else f"cut off in {' and '.join(names)}"
        for names in lost
    ]


def _run(shown: list[_Character]) -> str:
    first, text = shown[0], shown_as_text("".join(each.text for each in shown))
    kind, title = _shade(first.weight)
    kinds = [kind, "pa-finding" if first.finding else "", "pa-lost" if first.lost else ""]
    title = "; ".join(filter(None, [first.lost, first.finding or title]))
    described = f' title="{shown_as_text(title)}"' if title else ""
    return f'<span class="{" ".join(filter(None, kinds))}"{described}>{text}</span>'


def _shade(weight: float | None) -> tuple[str, str]:
    """The class of a character of this weight, one of nine shades, and what hovering it says."""
    if weight is None:
        return "pa-syntax", ""
    if weight == 1:
        return "pa-plain", ""
    if weight < 0:
        return "pa-against", f"weight {weight:g}"
    size = min(weight, _MOST)
    name = f"pa-more-{1 + round(3 * (size - 1) / (_MOST - 1))}" if size > 1 else f"pa-less-{1 + round(3 * (1 - size))}"
    return name, f"weight {weight:g}"
