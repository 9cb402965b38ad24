"""What a prompt's reader should tell its writer: one `Diagnostic` per finding, placed in the text as it was typed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from unicodedata import combining, east_asian_width

from promptattn.errors import PromptSyntaxError

__all__ = ["Diagnostic", "raise_first_mistake"]

_CONTEXT = 32  # characters shown either side of a mistake in a long prompt


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
        high = min(len(text), max(self.end, self.start + 1) + _CONTEXT)
        before, after = "..." if low else "", "..." if high < len(text) else ""
        # Line breaks and control characters would move the caret away from its place.
        shown = "".join(c if c.isprintable() else " " for c in text[low:high])
        left = len(before) + _columns(shown[: self.start - low])
        width = max(1, _columns(shown[self.start - low : self.end - low]))
        return f"  {before}{shown}{after}\n  {' ' * left}{'^' * width}"


def _columns(shown: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in shown)


def raise_first_mistake(text: str, diagnostics: Iterable[Diagnostic]) -> None:
    """Raise `PromptSyntaxError` for the first warning by position, with a caret under it; do nothing without one."""
    mistakes = sorted((d for d in diagnostics if d.severity == "warning"), key=lambda d: d.start)
    if not mistakes:
        return
    first = mistakes[0]
    others = f" ({len(mistakes) - 1} more in this prompt)" if len(mistakes) > 1 else ""
    message = f"{first.message} [{first.code} at position {first.start}]{others}"
    raise PromptSyntaxError(f"{message}\n{first.pointer(text)}")
