"""The one form in which a prompt's nodes are kept, so that equal prompts compare equal."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from promptattn.errors import PromptSyntaxError
from promptattn.prompt.nodes import Alternate, And, Blend, Break, Node, Part, Schedule, Span

if TYPE_CHECKING:
    from promptattn.prompt.tree import Prompt

__all__ = ["MAX_NESTING", "canonical", "children", "nesting"]

MAX_NESTING = 32  # schedules and alternations inside one another; every walk through a prompt may recurse

_Inner = Span | Schedule | Alternate


def canonical(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes without empty spans, neighbours of equal weight joined, blanks next to a `Break` dropped.

    Of a combination, the parts lose the blanks at their ends. None of what is dropped can make a token.
    """
    if len(nodes) == 1 and isinstance(nodes[0], And | Blend):
        return (replace(nodes[0], parts=tuple(_trimmed(part) for part in nodes[0].parts)),)
    return tuple(_chunks(nodes))


def children(node: Node) -> "tuple[Prompt, ...]":
    """The prompts inside a node."""
    match node:
        case Schedule():
            return (node.before, node.after)
        case Alternate():
            return node.options
        case And() | Blend():
            return tuple(part.prompt for part in node.parts)
        case _:
            return ()


def nesting(nodes: Sequence[Node], kind: "type[Prompt]") -> int:
    """How many schedules and alternations stand inside one another, at most; `kind` is the class of prompts.

    Raises `PromptSyntaxError` for what is no node, for combinations that are not alone, and for too deep a nesting.
    """
    deepest = 0
    for node in nodes:
        if not isinstance(node, Node):
            raise PromptSyntaxError(f"a prompt is made of nodes such as Span, not {type(node).__name__}: {node!r:.60}")
        inner = children(node)
        for prompt in inner:
            if not isinstance(prompt, kind):
                raise PromptSyntaxError(f"{type(node).__name__} holds prompts, not {type(prompt).__name__}")
            if any(isinstance(one, And | Blend) for one in prompt.nodes):
                raise PromptSyntaxError(f"a combination (And, Blend) cannot stand inside {type(node).__name__}")
        if isinstance(node, And | Blend):
            if len(nodes) > 1:
                raise PromptSyntaxError(f"{type(node).__name__} must be the only node of a prompt")
            deepest = max(prompt.nesting for prompt in inner)
        elif inner:
            deepest = max(deepest, 1 + max(prompt.nesting for prompt in inner))
    if deepest > MAX_NESTING:
        raise PromptSyntaxError(f"schedules and alternations nest at most {MAX_NESTING} deep")
    return deepest


def _trimmed(part: Part) -> Part:
    prompt = part.prompt
    nodes = tuple(_chunks(prompt.nodes, ends=True))
    return part if nodes == prompt.nodes else Part(replace(prompt, nodes=nodes), part.weight)


def _chunks(nodes: Iterable[Node], ends: bool = False) -> Iterator[Node]:
    """The canonical nodes between breaks, and the breaks; `ends` says to drop the blanks at both ends as well."""
    chunks: list[list[_Inner]] = [[]]
    breaks: list[Break] = []
    for node in nodes:
        if isinstance(node, Break):
            breaks.append(node)
            chunks.append([])
        elif isinstance(node, Span | Schedule | Alternate):
            chunks[-1].append(node)
    for index, chunk in enumerate(chunks):
        yield from _joined(_strip(chunk, left=ends or index > 0, right=ends or index < len(breaks)))
        if index < len(breaks):
            yield breaks[index]


def _strip(chunk: list[_Inner], left: bool, right: bool) -> list[_Inner]:
    """Drop the blanks at the asked ends of the chunk, across as many spans as they fill."""
    first, last = 0, len(chunk)
    while left and first < last and _is_blank(chunk[first]):
        first += 1
    while right and first < last and _is_blank(chunk[last - 1]):
        last -= 1
    chunk = chunk[first:last]
    if left and chunk and isinstance(chunk[0], Span):
        chunk[0] = chunk[0].slice(len(chunk[0].text) - len(chunk[0].text.lstrip()), len(chunk[0].text))
    if right and chunk and isinstance(chunk[-1], Span):
        chunk[-1] = chunk[-1].slice(0, len(chunk[-1].text.rstrip()))
    return chunk


def _is_blank(node: _Inner) -> bool:
    return isinstance(node, Span) and not node.text.strip()


def _joined(chunk: Iterable[_Inner]) -> Iterator[_Inner]:
    visible = (node for node in chunk if not (isinstance(node, Span) and not node.text))
    for weight, run in groupby(visible, key=lambda node: node.weight if isinstance(node, Span) else None):
        if weight is None:
            yield from run
        else:
            yield _join([node for node in run if isinstance(node, Span)])


def _join(run: list[Span]) -> Span:
    if len(run) == 1:
        return run[0]
    placed = all(span.origins for span in run)
    origins = tuple(place for span in run for place in span.origins) if placed else ()
    start, end = (run[0].start, run[-1].end) if placed else (-1, -1)
    return Span("".join(span.text for span in run), run[0].weight, start, end, origins)
