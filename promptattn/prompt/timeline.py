"""What a scheduled prompt is at each step. The rules are those of A1111, see `promptattn.prompt.a1111`."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from promptattn.errors import ConfigError
from promptattn.prompt.canonical import children
from promptattn.prompt.diagnostics import Diagnostic, few_of_each
from promptattn.prompt.nodes import Alternate, And, Blend, Node, Part, Schedule, Span
from promptattn.prompt.tree import Prompt

__all__ = ["all_spans", "at_step", "check_steps", "find_in_timeline", "timeline"]


def at_step(prompt: Prompt, step: int, steps: int) -> Prompt:
    """`Prompt.at`."""
    check_steps(steps)
    if isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < steps:
        raise ConfigError(f"a run of {steps} steps has no step {step!r}; the first is 0, the last {steps - 1}")
    return _resolved(prompt, step, steps)


def timeline(prompt: Prompt, steps: int) -> tuple[tuple[int, Prompt], ...]:
    """`Prompt.timeline`."""
    check_steps(steps)
    moments: list[tuple[int, Prompt]] = []
    for step in sorted({0, *_changes(prompt, steps)}):
        current = _resolved(prompt, step, steps)
        if not moments or current != moments[-1][1]:
            moments.append((step, current))
    return tuple(moments)


def all_spans(prompt: Prompt) -> Iterator[Span]:
    """Every span of the prompt, those of all its branches and parts too, in the order of the text."""
    for node in prompt.nodes:
        if isinstance(node, Span):
            yield node
        for inner in children(node):
            yield from all_spans(inner)


def find_in_timeline(prompt: Prompt, steps: int) -> tuple[Diagnostic, ...]:
    """What a run of `steps` never shows of the prompt: schedules that never switch, or switch before the first step,
    and options whose turn never comes (`late-schedule`, `early-schedule`, `late-option`)."""
    check_steps(steps)
    return few_of_each(_unseen(prompt, steps))


def check_steps(steps: int) -> None:
    """Raise `ConfigError` for what is no number of steps."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ConfigError(f"steps={steps!r} must be a whole number from 1.")


def _resolved(prompt: Prompt, step: int, steps: int) -> Prompt:
    if not prompt.is_scheduled:
        return prompt
    return replace(prompt, nodes=tuple(_chosen(prompt.nodes, step, steps)))


def _chosen(nodes: Sequence[Node], step: int, steps: int) -> Iterator[Node]:
    for node in nodes:
        match node:
            case Schedule():
                branch = node.before if step < node.switch(steps) else node.after
                yield from _chosen(branch.nodes, step, steps)
            case Alternate():
                yield from _chosen(node.options[step % len(node.options)].nodes, step, steps)
            case And() | Blend():
                parts = tuple(Part(_resolved(part.prompt, step, steps), part.weight) for part in node.parts)
                yield replace(node, parts=parts)
            case _:
                yield node


def _changes(prompt: Prompt, steps: int) -> set[int]:
    """Every step at which the prompt may become another."""
    if not prompt.is_scheduled:
        return set()
    found: set[int] = set()
    for node in prompt.nodes:
        if isinstance(node, Alternate):
            return set(range(steps))
        if isinstance(node, Schedule):
            found.add(min(node.switch(steps), steps - 1))
        for inner in children(node):
            found |= _changes(inner, steps)
    return found


def _unseen(prompt: Prompt, steps: int) -> Iterator[Diagnostic]:
    for node in prompt.nodes:
        place = (node.start, node.end) if isinstance(node, Schedule | Alternate) else (-1, -1)
        if isinstance(node, Schedule) and node.switch(steps) >= steps:
            message = f"this schedule never switches in a run of {steps} steps; what comes after it is not seen"
            yield Diagnostic("late-schedule", message, *place)
        elif isinstance(node, Schedule) and node.switch(steps) == 0:
            message = f"this schedule has switched before the first of {steps} steps; what comes before it is not seen"
            yield Diagnostic("early-schedule", message, *place)
        elif isinstance(node, Alternate) and len(node.options) > steps:
            message = f"{len(node.options)} options take turns, so in a run of {steps} steps the last ones are not seen"
            yield Diagnostic("late-option", message, *place)
        for inner in children(node):
            yield from _unseen(inner, steps)
