"""A parsed prompt: spans of text that carry a weight, breaks between them, and the clean text they make up."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from math import isfinite
from numbers import Real

from promptattn.errors import PromptSyntaxError
from promptattn.prompt.diagnostics import Diagnostic

__all__ = ["Alternate", "And", "Break", "Node", "Prompt", "Schedule", "Span"]


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text under one weight.

    `start` and `end` are its range in the text that the user wrote (-1 for a span made in code), and `origins` the
    position there of each of its characters, since escapes and brackets may lie between them (empty for a span made
    in code). Positions do not take part in equality.

    Raises `PromptSyntaxError` for a weight that is not a finite number, and for text with a lone surrogate, which no
    tokenizer can encode.
    """

    text: str
    weight: float = 1.0
    start: int = field(default=-1, compare=False)
    end: int = field(default=-1, compare=False)
    origins: tuple[int, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.weight, bool) or not isinstance(self.weight, Real) or not _finite(self.weight):
            raise PromptSyntaxError(f"the weight of {self.text!r} must be a finite number, not {self.weight!r}")
        if any("\ud800" <= c <= "\udfff" for c in self.text):
            raise PromptSyntaxError(f"{self.text!r} contains half a surrogate pair, which is not a character")
        object.__setattr__(self, "weight", float(self.weight) + 0.0)  # + 0.0 turns -0.0 into 0.0

    def _slice(self, low: int, high: int) -> "Span":
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
    """`[before:after:when]`, one text until a step and another from it on. Reserved: no parser makes it yet."""

    before: "Prompt"
    after: "Prompt"
    when: float


@dataclass(frozen=True, slots=True)
class Alternate:
    """`[a|b]`, its options taking turns step by step. Reserved: no parser makes it yet."""

    options: "tuple[Prompt, ...]"


@dataclass(frozen=True, slots=True)
class And:
    """`a AND b`, prompts whose predictions are added. Reserved: no parser makes it yet."""

    parts: "tuple[Prompt, ...]"


Node = Span | Break | Schedule | Alternate | And


@dataclass(frozen=True)
class Prompt:
    """A prompt as a sequence of nodes, in one canonical form.

    Empty spans are dropped, neighbours of equal weight joined, and whitespace next to a `Break` dropped: none of it
    can make a token. Two prompts are equal when their nodes are; positions, `diagnostics` and `source` (the text as
    the user wrote it, None for a prompt made in code) do not count.

    Raises `PromptSyntaxError` for the reserved nodes, which nothing can carry out yet.
    """

    nodes: tuple[Span | Break, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = field(default=(), compare=False)
    source: str | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(_canonical(self.nodes)))
        object.__setattr__(self, "diagnostics", tuple(self.diagnostics))

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """The weighted spans, in order, without the breaks."""
        return tuple(node for node in self.nodes if isinstance(node, Span))

    @cached_property
    def text(self) -> str:
        """The clean text: the spans' texts, with one space where a break parts two of them."""
        return self._layout[0]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The range `(start, end)` of each span of `.spans` in the clean text."""
        return self._layout[1]

    @property
    def breaks(self) -> tuple[int, ...]:
        """For each break the position in the clean text where the text after it starts."""
        return self._layout[2]

    @cached_property
    def _layout(self) -> tuple[str, tuple[tuple[int, int], ...], tuple[int, ...]]:
        pieces: list[str] = []
        ranges: list[tuple[int, int]] = []
        breaks: list[int] = []
        length = waiting = 0  # waiting: breaks met since the last span
        for node in self.nodes:
            if isinstance(node, Break):
                waiting += 1
                continue
            if waiting and length:
                pieces.append(" ")
                length += 1
            breaks += [length] * waiting
            waiting = 0
            pieces.append(node.text)
            ranges.append((length, length + len(node.text)))
            length += len(node.text)
        breaks += [length] * waiting
        return "".join(pieces), tuple(ranges), tuple(breaks)

    @cached_property
    def _origins(self) -> tuple[int, ...]:
        """For each character of the clean text its position in `source`; -1 for the space at a break."""
        places = [-1] * len(self.text)
        for span, (start, end) in zip(self.spans, self.ranges, strict=True):
            places[start:end] = span.origins or [-1] * (end - start)
        return tuple(places)

    def locate(self, start: int, end: int) -> tuple[int, int]:
        """The range in the user's own text of the clean text `[start, end)`.

        For a prompt made in code, which has no such text, the range itself.
        """
        places = [place for place in self._origins[start:end] if place >= 0]
        return (places[0], places[-1] + 1) if places else (start, end)

    def render(self) -> str:
        """The prompt in A1111 syntax, weights as plain decimals; `parse(prompt.render()) == prompt`."""
        from promptattn.prompt.render import render  # render builds on the nodes

        return render(self)

    def at(self, step: int, steps: int) -> "Prompt":
        """The prompt that holds at `step` (from 0) of `steps`; the same at every step while nothing is scheduled."""
        return self


def _finite(weight: Real) -> bool:
    try:
        return isfinite(float(weight))
    except OverflowError:  # an int too large for a float
        return False


def _canonical(nodes: Iterable[Node]) -> Iterator[Span | Break]:
    parts: list[list[Span]] = [[]]
    breaks: list[Break] = []
    for node in nodes:
        if isinstance(node, Break):
            breaks.append(node)
            parts.append([])
        elif isinstance(node, Span):
            parts[-1].append(node)
        else:
            raise PromptSyntaxError(
                f"{type(node).__name__} nodes are reserved: a prompt holds Span and Break only, so far"
            )
    for index, part in enumerate(parts):
        stripped = _strip(part, left=index > 0, right=index < len(breaks))
        for _, run in groupby((span for span in stripped if span.text), key=lambda span: span.weight):
            yield _join(list(run))
        if index < len(breaks):
            yield breaks[index]


def _strip(part: list[Span], left: bool, right: bool) -> list[Span]:
    """Drop the whitespace at the asked ends of the part, across as many spans as it fills."""
    first, last = 0, len(part)
    while left and first < last and not part[first].text.strip():
        first += 1
    while right and first < last and not part[last - 1].text.strip():
        last -= 1
    part = part[first:last]
    if left and part:
        part[0] = part[0]._slice(len(part[0].text) - len(part[0].text.lstrip()), len(part[0].text))
    if right and part:
        part[-1] = part[-1]._slice(0, len(part[-1].text.rstrip()))
    return part


def _join(run: list[Span]) -> Span:
    if len(run) == 1:
        return run[0]
    placed = all(span.origins for span in run)
    origins = tuple(place for span in run for place in span.origins) if placed else ()
    start, end = (run[0].start, run[-1].end) if placed else (-1, -1)
    return Span("".join(span.text for span in run), run[0].weight, start, end, origins)
