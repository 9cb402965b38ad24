"""A prompt as its writer typed it, each character shaded by its weight, as HTML.

What is shown is the text itself, character for character: what the syntax takes as brackets and numbers is faint, what
a finding is about is underlined, and nothing of the text is ever markup.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby

from promptattn.errors import PromptAttnError
from promptattn.prompt import Prompt, parse
from promptattn.prompt.timeline import all_spans

__all__ = ["highlighted"]

# From here up a shade is at its darkest; below 0 there is one shade.
_MOST = 2.0


@dataclass(frozen=True)
class _Character:
    """How one character is shown. weight: None for what is syntax; finding: the message about it, if there is one."""

    text: str
    weight: float | None
    finding: str | None


def highlighted(source: str, syntax: str = "a1111") -> str:
    """The text as HTML, with its findings below it. A text that cannot be read comes with the reason."""
    try:
        prompt = parse(source, syntax=syntax)
    except PromptAttnError as error:
        return f'<div class="pa-text">{escape(source)}</div>{_notes([str(error)])}'
    runs = "".join(_run(shown) for shown in _runs(source, prompt))
    return f'<div class="pa-text">{runs}</div>{_notes([each.message for each in prompt.diagnostics])}'


def _runs(source: str, prompt: Prompt) -> Iterator[list[_Character]]:
    """Neighbours that are shown alike."""
    weights: list[float | None] = [None] * len(source)
    for span in all_spans(prompt):
        for place in span.origins:
            weights[place] = span.weight
    findings: list[str | None] = [None] * len(source)
    for each in reversed(prompt.diagnostics):  # the first about a place is the one that is told there
        findings[each.start : each.end] = [each.message] * (each.end - each.start)
    shown = [_Character(*each) for each in zip(source, weights, findings, strict=True)]
    for _, run in groupby(shown, key=lambda each: (each.weight, each.finding)):
        yield list(run)


def _run(shown: list[_Character]) -> str:
    first, text = shown[0], escape("".join(each.text for each in shown))
    kind, title = _shade(first.weight)
    if first.finding is not None:
        kind, title = f"{kind} pa-finding", first.finding
    return (
        f'<span class="{kind}" title="{escape(title)}">{text}</span>'
        if title
        else f'<span class="{kind}">{text}</span>'
    )


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


def _notes(messages: list[str]) -> str:
    items = "".join(f"<li>{escape(each)}</li>" for each in messages)
    return f'<ul class="pa-notes">{items}</ul>' if items else ""
