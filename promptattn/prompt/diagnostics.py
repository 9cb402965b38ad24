"""What a prompt's reader should tell its writer: one `Diagnostic` per finding, placed in the text as it was typed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal
from unicodedata import combining, east_asian_width

from promptattn.errors import PromptSyntaxError

__all__ = ["Diagnostic", "few_of_each", "in_order", "raise_first_mistake"]

_CONTEXT = 32  # characters shown either side of a mistake in a long prompt
_WIDEST = 80  # characters of a mistake itself
_MOST = 10  # findings of one kind


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about a prompt.

    `code` is a short stable name (`unclosed-bracket`, `cut-words`, ...), `message` a sentence for the user.
    `start` and `end` are character positions in the text that the user wrote, brackets and escapes counted.
    A `warning` looks like a mistake, or has an effect that the user may not expect, and strict parsing raises on it;
    an `info` only reports. `source` says which of the two prompts of a plan the positions refer to.
    """

    code: str
    message: str
    start: int
    end: int
    severity: Literal["info", "warning"] = "warning"
    source: Literal["prompt", "negative_prompt"] = "prompt"

    def __str__(self) -> str:
        where = "prompt" if self.source == "prompt" else "negative prompt"
        return f"{self.message} ({where}, character {self.start + 1})"

    def pointer(self, text: str) -> str:
        """Two lines: the part of `text` (as the user wrote it) that this is about, and a caret under the place."""
        low = max(0, self.start - _CONTEXT)
        end = min(self.end, self.start + _WIDEST)
        high = min(len(text), max(end, self.start + 1) + _CONTEXT)
        before, after = "..." if low else "", "..." if high < len(text) else ""
        # Line breaks and control characters would move the caret away from its place.
        shown = "".join(c if c.isprintable() else " " for c in text[low:high])
        left = len(before) + _columns(shown[: self.start - low])
        width = max(1, _columns(shown[self.start - low : end - low]))
        return f"  {before}{shown}{after}\n  {' ' * left}{'^' * width}"


def _columns(shown: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in shown)


def in_order(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The findings in the order of the text, few of each kind."""
    return few_of_each(sorted(found, key=lambda each: (each.start, each.end)))


def few_of_each(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Each finding once, and of one kind at most ten: of more, the tenth says how many others there are."""
    distinct = tuple(dict.fromkeys(found))
    total, seen = Counter(each.code for each in distinct), Counter[str]()
    kept = []
    for each in distinct:
        seen[each.code] += 1
        if total[each.code] <= _MOST or seen[each.code] < _MOST:
            kept.append(each)
        elif seen[each.code] == _MOST:
            others = total[each.code] - _MOST + 1
            kept.append(
                replace(each, message=f"and {others} more findings like these ({each.code}), the next of them here")
            )
    return tuple(kept)


def raise_first_mistake(text: str, diagnostics: Iterable[Diagnostic]) -> None:
    """Raise `PromptSyntaxError` for the first warning by position, with a caret under it; do nothing without one."""
    mistakes = sorted((d for d in diagnostics if d.severity == "warning"), key=lambda d: d.start)
    if not mistakes:
        return
    first = mistakes[0]
    others = f" ({len(mistakes) - 1} more in this prompt)" if len(mistakes) > 1 else ""
    message = f"{first.message} [{first.code} at position {first.start}]{others}"
    raise PromptSyntaxError(f"{message}\n{first.pointer(text)}")
