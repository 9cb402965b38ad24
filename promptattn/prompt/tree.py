"""A parsed prompt: its nodes, the clean text they make up, and the prompt that holds at each step."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from promptattn.errors import PromptSyntaxError
from promptattn.prompt.canonical import canonical, children, nesting
from promptattn.prompt.nodes import Alternate, And, Blend, Break, Node, Part, Schedule, Span

if TYPE_CHECKING:
    from promptattn.prompt.diagnostics import Diagnostic

__all__ = ["Prompt"]


@dataclass(frozen=True)
class Prompt:
    """A prompt as a sequence of nodes, in one canonical form.

    `nodes` are `Span`, `Break`, `Schedule` and `Alternate` in any order, or one `And` or `Blend` alone. Weights are
    final: a span inside a schedule carries the product of all brackets round it, those outside the schedule too.

    Empty spans are dropped, neighbours of equal weight joined, and whitespace next to a `Break` or at the ends of the
    parts of a combination dropped: none of it can make a token. Two prompts are equal when their nodes are; positions,
    `diagnostics` and `source` (the text as the user wrote it, None for a prompt made in code) do not count.

    Raises `PromptSyntaxError` for nodes in places where they cannot stand, and for schedules nested more than 32 deep.
    """

    nodes: tuple[Node, ...] = ()
    diagnostics: "tuple[Diagnostic, ...]" = field(default=(), compare=False)
    source: str | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        nodes = tuple(self.nodes)
        object.__setattr__(self, "_nesting", nesting(nodes, Prompt))
        object.__setattr__(self, "nodes", canonical(nodes))
        object.__setattr__(self, "diagnostics", tuple(self.diagnostics))

    @property
    def nesting(self) -> int:
        """How many schedules and alternations stand inside one another, at most."""
        return int(self.__dict__["_nesting"])

    @cached_property
    def is_plain(self) -> bool:
        """Whether there is nothing but spans and breaks, so that the prompt is one text at every step."""
        return all(isinstance(node, Span | Break) for node in self.nodes)

    @cached_property
    def is_scheduled(self) -> bool:
        """Whether the prompt is not the same at every step: a `Schedule` or `Alternate` stands anywhere in it."""
        return any(
            isinstance(node, Schedule | Alternate) or any(inner.is_scheduled for inner in children(node))
            for node in self.nodes
        )

    @property
    def parts(self) -> tuple[Part, ...]:
        """The prompts whose predictions are added: those of an `And`, else this one with weight 1."""
        only = self.nodes[0] if len(self.nodes) == 1 else None
        return only.parts if isinstance(only, And) else (Part(self),)

    def at(self, step: int, steps: int) -> "Prompt":
        """The prompt that holds at `step` (from 0) of `steps`: no `Schedule` or `Alternate` is left in it.

        Positions stay those of the text as written; an `And` or `Blend` keeps its parts, each as it is at this step.
        The prompt itself where nothing is scheduled. Raises `ConfigError` for a step that a run of `steps` has not.
        """
        from promptattn.prompt.timeline import at_step  # the timeline builds on the tree

        return at_step(self, step, steps)

    def timeline(self, steps: int) -> "tuple[tuple[int, Prompt], ...]":
        """Every prompt that holds in a run of `steps`, each with its first step: `(0, ...)`, then where it changes."""
        from promptattn.prompt.timeline import timeline

        return timeline(self, steps)

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """The weighted spans of a plain prompt, in order, without the breaks.

        Like `.text`, `.ranges`, `.breaks` and `.locate`: `PromptSyntaxError` where the prompt is not plain.
        """
        return tuple(node for node in self._plain if isinstance(node, Span))

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

    @property
    def _plain(self) -> tuple[Span | Break, ...]:
        """The nodes of a plain prompt; raises `PromptSyntaxError` for any other, naming what to use instead."""
        for node in self.nodes:
            if isinstance(node, And):
                raise PromptSyntaxError("this prompt joins several with AND; take them one by one: prompt.parts")
            if isinstance(node, Blend):
                raise PromptSyntaxError("this prompt blends several; take them one by one: prompt.nodes[0].parts")
            if not isinstance(node, Span | Break):
                raise PromptSyntaxError(
                    "this prompt changes from step to step; take the one of a step: prompt.at(step, steps), "
                    "or all of them: prompt.timeline(steps)"
                )
        return tuple(node for node in self.nodes if isinstance(node, Span | Break))

    @cached_property
    def _layout(self) -> tuple[str, tuple[tuple[int, int], ...], tuple[int, ...]]:
        pieces: list[str] = []
        ranges: list[tuple[int, int]] = []
        breaks: list[int] = []
        length = waiting = 0  # waiting: breaks met since the last span
        for node in self._plain:
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

    def render(self, syntax: str = "a1111") -> str:
        """The prompt written in `syntax`, weights as plain decimals; `parse(prompt.render(syntax), syntax) == prompt`.

        Raises `PromptSyntaxError` for what the syntax cannot say, naming it, and `ConfigError` for an unknown syntax.
        """
        from promptattn.prompt.render import render  # render builds on the tree

        return render(self, syntax)
