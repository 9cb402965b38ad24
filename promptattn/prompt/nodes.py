"""What a prompt is made of: spans of text under a weight, breaks, what changes from step to step, what is combined."""

from dataclasses import dataclass, field
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from promptattn.errors import PromptSyntaxError

if TYPE_CHECKING:
    from promptattn.prompt.tree import Prompt

__all__ = ["Alternate", "And", "Blend", "Break", "Node", "Part", "Schedule", "Span"]


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text under one weight.

    `start` and `end` are its range in the text that the user wrote (-1 for a span made in code), and `origins` the
    position there of each of its characters, since escapes and brackets may lie between them (empty for a span made
    in code). Positions do not take part in equality, here or in any other node.

    Raises `PromptSyntaxError` for a weight that is not a finite number, and for text with a lone surrogate, which no
    tokenizer can encode.
    """

    text: str
    weight: float = 1.0
    start: int = field(default=-1, compare=False)
    end: int = field(default=-1, compare=False)
    origins: tuple[int, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if any("\ud800" <= c <= "\udfff" for c in self.text):
            raise PromptSyntaxError(f"{self.text!r} contains half a surrogate pair, which is not a character")
        object.__setattr__(self, "weight", _finite(self.weight, f"the weight of {self.text!r}"))

    def slice(self, low: int, high: int) -> "Span":
        """The span of `text[low:high]`, its positions following."""
        if (low, high) == (0, len(self.text)):
            return self
        origins = self.origins[low:high]
        start, end = (origins[0], origins[-1] + 1) if origins else (self.start, self.end)
        return Span(self.text[low:high], self.weight, start, end, origins)


@dataclass(frozen=True, slots=True)
class Break:
    """`BREAK`: the text after it starts a new chunk of the text encoder. `start`, `end` as in `Span`."""

    start: int = field(default=-1, compare=False)
    end: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Schedule:
    """`[before:after:when]`: one text for the first steps, another from then on.

    With `unit` `step`, `when` is the whole number of steps done before the switch; with `fraction`, the share of all
    steps, rounded down to whole ones as A1111 does. `start`, `end` as in `Span`.

    Raises `PromptSyntaxError` for a `when` that is not a finite number, or no whole one where it counts steps.
    """

    before: "Prompt"
    after: "Prompt"
    when: float
    unit: Literal["step", "fraction"] = "step"
    start: int = field(default=-1, compare=False)
    end: int = field(default=-1, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", _finite(self.when, "when a schedule switches"))
        if self.unit not in ("step", "fraction"):
            raise PromptSyntaxError(f"a schedule counts in 'step' or 'fraction', not {self.unit!r}")
        if self.unit == "step" and not self.when.is_integer():
            raise PromptSyntaxError(
                f"a schedule cannot switch after {self.when:g} steps; give a whole number, or unit='fraction'"
            )

    def switch(self, steps: int) -> int:
        """How many of `steps` steps are done with `before`: from 0 (it is never seen) to `steps` (it always is)."""
        exact = self.when if self.unit == "step" else self.when * steps
        return int(min(max(exact, 0.0), float(steps)))


@dataclass(frozen=True, slots=True)
class Alternate:
    """`[a|b]`: its options take turns; at `step` (from 0) it is option `step % len(options)`. Two options at least."""

    options: "tuple[Prompt, ...]"
    start: int = field(default=-1, compare=False)
    end: int = field(default=-1, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        if len(self.options) < 2:
            raise PromptSyntaxError(f"an alternation takes turns between two options or more, not {len(self.options)}")


@dataclass(frozen=True, slots=True)
class Part:
    """One of the prompts that an `And` or a `Blend` combines, with its (finite) weight there."""

    prompt: "Prompt"
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _finite(self.weight, "the weight of a part"))


@dataclass(frozen=True, slots=True)
class And:
    """`a AND b:0.5`: prompts whose guided predictions are added, each times its weight. The only node of its prompt."""

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _parts(self.parts, "AND"))


@dataclass(frozen=True, slots=True)
class Blend:
    """`("a", "b").blend(1, 0.5)`: prompts whose embeddings are mixed with these weights. The only node of its prompt.

    With `normalise` the weights are divided by their sum first.

    Raises `PromptSyntaxError` where that sum is 0.
    """

    parts: tuple[Part, ...]
    normalise: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _parts(self.parts, "blend"))
        if self.normalise and sum(part.weight for part in self.parts) == 0.0:
            raise PromptSyntaxError("the weights of a blend add up to 0 and cannot be normalised; change one of them")


Node = Span | Break | Schedule | Alternate | And | Blend


def _parts(parts: tuple[Part, ...], what: str) -> tuple[Part, ...]:
    if not parts:
        raise PromptSyntaxError(f"{what} combines one prompt or more, not none")
    return tuple(parts)


def _finite(number: Any, what: str) -> float:
    """`number` as a float, 0 without its sign; raises `PromptSyntaxError` where it is no finite number."""
    if isinstance(number, Real) and not isinstance(number, bool):
        try:
            if isfinite(float(number)):
                return float(number) + 0.0  # + 0.0 turns -0.0 into 0.0
        except OverflowError:  # an int too large for a float
            pass
    raise PromptSyntaxError(f"{what} must be a finite number, not {number!r}")
