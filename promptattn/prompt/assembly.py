"""From the events of A1111 syntax to the nodes of a prompt, every weight multiplied out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import isfinite

from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.nodes import Alternate, Break, Node, Schedule, Span
from promptattn.prompt.source import CleanSource
from promptattn.prompt.switches import Switch
from promptattn.prompt.syntax import DECIMAL, Begin, BreakWord, Close, End, Event, Next, Open, Text
from promptattn.prompt.tree import Prompt

__all__ = ["assemble", "exact_weight"]


@dataclass(slots=True)
class _Branches:
    """A switch that is being read: its finished branches, and the nodes of the current one."""

    finished: list[Prompt] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)


def assemble(source: CleanSource, events: Sequence[Event], written: str) -> tuple[list[Node], list[Diagnostic]]:
    """The nodes that the events make up, and the findings, placed in the text as written. Linear time."""
    found: list[Diagnostic] = []
    stack = [_Branches()]
    for event, weight in _weighted(events):
        match event:
            case Begin():
                stack.append(_Branches())
            case Next():
                stack[-1].finished.append(Prompt(tuple(stack[-1].nodes), source=written))
                stack[-1].nodes = []
            case End(switch):
                branches = stack.pop()
                last = Prompt(tuple(branches.nodes), source=written)
                stack[-1].nodes.append(_node(switch, [*branches.finished, last], source))
            case BreakWord():
                stack[-1].nodes.append(Break(*source.place(event.start, event.end)))
            case _:
                place = source.place(event.start, event.end)
                origins = tuple(source.origins[event.start : event.end])
                number = exact_weight(weight, place, found)
                stack[-1].nodes.append(Span(source.text[event.start : event.end], number, *place, origins))
    return stack[-1].nodes, found


def exact_weight(exact: Decimal, place: tuple[int, int], found: list[Diagnostic]) -> float:
    """The product of the weights round a text as a float; what does not fit into one is added to `found`."""
    weight = float(exact)
    if not isfinite(weight):
        message = "the weights round this text multiply to more than a number can hold; it keeps weight 1"
        found.append(Diagnostic("infinite-weight", message, *place))
        return 1.0
    if weight == 0.0 and exact != 0:
        message = "the weights round this text multiply to less than a number can hold; it has weight 0"
        found.append(Diagnostic("vanished-weight", message, *place))
    return weight


def _weighted(events: Sequence[Event]) -> Iterator[tuple[Text | BreakWord | Begin | Next | End, Decimal]]:
    """What is not a bracket, each with the product of the factors of the brackets round it.

    The two kinds of bracket may cross, but each nests in itself, so one running product per kind and level will do.
    """
    products = {"(": [Decimal(1)], "[": [Decimal(1)]}
    for event in events:
        if isinstance(event, Open):
            levels = products[event.bracket.kind]
            levels.append(DECIMAL.multiply(levels[-1], event.bracket.factor))
        elif isinstance(event, Close):
            products[event.bracket.kind].pop()
        elif isinstance(event, Text | BreakWord | Begin | Next | End):
            yield event, DECIMAL.multiply(products["("][-1], products["["][-1])


def _node(switch: Switch, branches: list[Prompt], source: CleanSource) -> Schedule | Alternate:
    place = source.place(switch.start, switch.end)
    if switch.kind == "alternate":
        return Alternate(tuple(branches), *place)
    before, after = branches if len(branches) == 2 else (Prompt(), branches[0])
    return Schedule(before, after, switch.when, switch.unit, *place)
