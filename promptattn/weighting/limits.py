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
        place: what is limited: the `weight` as it stands in the prompt, of either sign, how far a `negative weight` is
            below 0, or the word's odds in the `denoiser` or in the `text encoder`.
        largest: the largest size that holds.
        found: what was measured beyond it, on which model.
        advice: what to do instead.
        source: the page that has the measurement.
    """

    method: str
    place: Literal["weight", "negative weight", "denoiser", "text encoder"]
    largest: float
    found: str
    advice: str = "use less weight, or weighting='attention', which broke none"
    source: str = "docs/methods.md"

    def size(self, method: Method, weight: float) -> float:
        """How far a word of this weight goes, in the terms of `largest`."""
        match self.place:
            case "denoiser":
                return abs(method.in_denoiser(weight))
            case "text encoder":
                return abs(method.in_text_encoder(weight))
            case "negative weight":
                return max(-weight, 0.0)
            case _:
                return abs(weight)


# Measured on the pipelines that ship, 32 scenes a cell; methods that nobody has measured are not limited.
LIMITS = (
    Limit("a1111", "weight", 2.0, "a1111 broke 41 % to 53 % of the images at 3 on the UNet shapes"),
    Limit("comfy", "weight", 2.0, "comfy broke 31 % to 41 % of the images at 3 on the UNet shapes"),
    Limit("compel", "weight", 2.0, "compel broke 31 % to 41 % of the images at 3 on the UNet shapes"),
    Limit("comfy++", "weight", 2.0, "comfy++ broke 12 % to 19 % of the images at 3 on the UNet shapes"),
    Limit("comfy++", "negative weight", 0.5, "comfy++ broke 22 % to 47 % of the images at -1 on the UNet shapes"),
    Limit("down_weight", "weight", 1.5, "down_weight broke 22 % to 41 % of the images at 2 on shapes-dit"),
    Limit("down_weight", "negative weight", 0.5, "down_weight broke 22 % to 47 % of images at -1 on the UNet shapes"),
    Limit("negpip", "weight", 2.0, "negpip broke 50 % to 53 % of the images at 3 on the UNet shapes"),
    Limit(
        "attention",
        "denoiser",
        12.0,
        "plain odds of 20 made nouns smaller again on the UNet shapes, and broke the first images of shapes-dit",
        f"use less weight, or leave strength out: then odds end at {CEILING:g}",
        "docs/weights.md",
    ),
    Limit(
        "attention",
        "text encoder",
        2.5,
        "odds of 2.6 in the text encoder left nouns 0.76 of their area on the UNet shapes: more weight was less",
        "use less weight, or where='denoiser', which leaves the text encoder alone",
        "docs/weights.md",
    ),
)
"""What is known, from the studies in docs/weights.md and docs/methods.md."""


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
    return f"{_short(word)} has weight {weight:g}{more}: {limit.found} ({limit.source}); {limit.advice}."


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
