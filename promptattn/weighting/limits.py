"""How much weight is too much: where images are known to fall apart, or more weight to act backwards."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from promptattn.prompt import Span
from promptattn.weighting.methods import Method
from promptattn.weighting.odds import CEILING

__all__ = ["LIMITS", "Limit", "overweight"]


@dataclass(frozen=True)
class Limit:
    """Up to where a method is known to hold, and what was measured beyond.

    Attributes:
        method: its name.
        place: what is limited: the `weight` as it stands in the prompt, or the word's odds in the `denoiser` or in the
            `text encoder`.
        largest: the largest size that holds; a weight of either sign.
        found: what was measured beyond it, on which model.
        advice: what to do instead.
    """

    method: str
    place: Literal["weight", "denoiser", "text encoder"]
    largest: float
    found: str
    advice: str

    def size(self, method: Method, weight: float) -> float:
        """Of a word of this weight, in the terms of `largest`."""
        if self.place == "denoiser":
            return abs(method.in_denoiser(weight))
        return abs(method.in_text_encoder(weight) if self.place == "text encoder" else weight)


SOURCE = "docs/weights.md"

# Measured on the pipelines that ship, 32 scenes a cell; methods that nobody has measured are not limited.
LIMITS = (
    Limit(
        "a1111",
        "weight",
        2.0,
        "a1111 broke 12 % to 16 % of the images at 2 and 41 % to 53 % at 3 on the UNet shapes",
        "use less weight, or weighting='attention', which broke none",
    ),
    Limit(
        "attention",
        "denoiser",
        12.0,
        "plain odds of 20 made nouns smaller again on the UNet shapes, and broke the first images of shapes-dit",
        f"use less weight, or leave strength out: then odds end at {CEILING:g}",
    ),
    Limit(
        "attention",
        "text encoder",
        2.5,
        "odds of 2.6 in the text encoder left nouns 0.76 of their area on the UNet shapes: more weight was less",
        "use less weight, or where='denoiser', which leaves the text encoder alone",
    ),
)
"""What is known, from the study in docs/weights.md."""


def overweight(method: Method, spans: Iterable[Span]) -> str | None:
    """A sentence about the text that goes furthest beyond a limit, or None when none does."""
    limits = [limit for limit in LIMITS if limit.method == method.name]
    beyond = [
        (size / limit.largest, word, weight, limit)
        for word, weight in {(span.text.strip(), span.weight) for span in spans}
        for limit in limits
        if word and (size := limit.size(method, weight)) > limit.largest * (1 + 1e-9)
    ]
    if not beyond:
        return None
    _, word, weight, limit = max(beyond, key=lambda each: each[:3])
    others = len({each[1:3] for each in beyond}) - 1
    more = f" (and {others} more)" if others else ""
    return f"{_short(word)} has weight {weight:g}{more}: {limit.found} ({SOURCE}); {limit.advice}."


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
