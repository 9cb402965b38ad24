"""Weights far beyond what a model was trained to follow."""

from collections.abc import Iterator

from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.numbers import plain_decimal
from promptattn.prompt.timeline import all_spans
from promptattn.prompt.tree import Prompt

__all__ = ["ABSURD_WEIGHT", "find_absurd"]

ABSURD_WEIGHT = 100.0  # by magnitude; above it a weight is reported, and still used


def find_absurd(prompt: Prompt) -> Iterator[Diagnostic]:
    """A finding for each span whose weight is beyond `ABSURD_WEIGHT`."""
    for span in all_spans(prompt):
        if abs(span.weight) > ABSURD_WEIGHT:
            message = f"weight {plain_decimal(span.weight)} is far beyond what a model was trained to follow"
            yield Diagnostic("absurd-weight", f"{message} (more than {ABSURD_WEIGHT:g})", span.start, span.end)
