"""Weights and texts that had no chance to act in a run, and why: said when the run is left."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from promptattn.processors.rows import Kind
from promptattn.prompt import Span
from promptattn.run.text.script import Timeline
from promptattn.run.text.wordings import Wording
from promptattn.selection import Steps, in_steps

__all__ = ["Acted", "why_idle"]


@dataclass
class Acted:
    """What has been in force so far.

    Attributes:
        timeline: of the image made last; step: how far it came.
        weighed: wordings whose weights acted, and in which rows.
    """

    timeline: Timeline | None = None
    step: int = -1
    weighed: set[tuple[Wording, Kind]] = field(default_factory=set)

    def reach(self, step: int, timeline: Timeline) -> None:
        self.step, self.timeline = step, timeline

    def weigh(self, wording: Wording, kinds: Iterable[Kind]) -> None:
        self.weighed |= {(wording, kind) for kind in kinds if kind in wording.weighted}

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of rows in which weights acted."""
        return frozenset(kind for _, kind in self.weighed)


def why_idle(acted: Acted, steps: Steps, total: int) -> Iterator[str]:
    """A sentence for everything in the prompts of a run that never was in force in it.

    Args:
        steps: the steps in which weights act.
        total: the number of steps that the pipeline was to make.
    """
    if acted.timeline is None:
        return
    moments = acted.timeline.moments
    reached = moments[: acted.step + 1]
    unreached = set(moments) - set(reached)
    if unreached:
        first = next(at for at, moment in enumerate(moments) if moment in unreached)
        yield (
            f"the run stopped after {acted.step + 1} of {total} steps, so what the prompt says after the first {first}"
            " was never in force."
        )
    wordings = {wording for moment in reached for wording in moment.wordings}
    weighted = frozenset(kind for wording in wordings for kind in wording.weighted)
    if idle := weighted - acted.kinds:
        yield _why(idle, acted, steps, total)
    elif forgotten := _forgotten(acted, wordings):
        words = ", ".join(sorted({repr(span.text.strip()) for _, _, span in forgotten}))
        yield f"the weights of {words} did not act: none of the steps that have these words is in steps={steps!r}."


def _why(idle: frozenset[Kind], acted: Acted, steps: Steps, total: int) -> str:
    if not any(in_steps(steps, step, total) for step in range(total)):
        return f"the weights did not act: steps={steps!r} selects none of the {total} steps that were made."
    if idle == {"negative"}:
        return "the weights in the negative prompt did not act: the pipeline ran without guidance, so without it."
    if acted.step + 1 >= total:
        return f"the weights did not act: none of the steps that have weighted words is in steps={steps!r}."
    return f"the weights did not act: the pipeline stopped before any step of steps={steps!r}."


def _forgotten(acted: Acted, wordings: Iterable[Wording]) -> set[tuple[Kind, int, Span]]:
    """The weighted spans of kinds that act, none of whose wordings did."""
    due = {(wording, kind) for wording in wordings for kind in wording.weighted & acted.kinds}
    missed = {span for wording, kind in due - acted.weighed for span in _weighted(wording, kind)}
    return missed - {span for wording, kind in acted.weighed for span in _weighted(wording, kind)}


def _weighted(wording: Wording, kind: Kind) -> Iterator[tuple[Kind, int, Span]]:
    for strand in wording.strands:
        for prompt, plan in enumerate(strand.plans):
            text = plan.prompt if kind == "positive" else plan.negative_prompt
            yield from ((kind, prompt, span) for span in text.spans if span.weight != 1.0)
