"""Writing a prompt back in A1111 syntax, so that parsing what was written gives the same prompt."""

import re
from decimal import Decimal

from promptattn.prompt.nodes import Break, Span
from promptattn.prompt.source import TAG_START
from promptattn.prompt.tree import Prompt

__all__ = ["plain_decimal", "render"]

_SYNTAX = re.compile(r"[\\()\[\]]")
# A lone backslash is dropped in parsing: one inside a word that would be read as syntax keeps that word text.
_WORD_AS_SYNTAX = re.compile(rf"\bB(?=REAK\b)|{TAG_START}")


def render(prompt: Prompt) -> str:
    """`prompt` in A1111 syntax: `(text:weight)` for each span whose weight is not 1, `BREAK` for each break."""
    pieces: list[str] = []
    previous: object = None
    for node in prompt._plain:
        if previous is not None and (isinstance(node, Break) or isinstance(previous, Break)):
            pieces.append(" ")
        pieces.append("BREAK" if isinstance(node, Break) else _render_span(node))
        previous = node
    return "".join(pieces)


def plain_decimal(weight: float) -> str:
    """The shortest decimal that reads back as `weight`, without an exponent: `1.2`, `2`, `0.000001`."""
    digits = format(Decimal(repr(float(weight))), "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _render_span(span: Span) -> str:
    text = _WORD_AS_SYNTAX.sub(r"\g<0>\\", _SYNTAX.sub(r"\\\g<0>", span.text))
    return text if span.weight == 1.0 else f"({text}:{plain_decimal(span.weight)})"
