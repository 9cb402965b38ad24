"""What a run's prompts say at each step: wordings, and where prompts are joined by AND several of them at once."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from promptattn.errors import ConfigError
from promptattn.maps.capture import Capture
from promptattn.prompt import And, Prompt, TokenPlan, find_in_timeline
from promptattn.run.text.columns import TextColumns, check_words, text_columns
from promptattn.run.text.vocabulary import Version
from promptattn.run.text.wordings import Strands, Wording, Wordings, shares_of, versions_of

__all__ = ["Moment", "Script", "Timeline"]

_USUAL_STEPS = 50
_MANY_STEPS = 1000


@dataclass(frozen=True, eq=False)
class Moment:
    """What is said at one step.

    Attributes:
        wordings: one, or with AND one for each of the predictions that are composed; all in as many chunks.
        weights: of each wording for each prompt of the batch, `[wording][prompt]`. A prompt of fewer parts than another
            one has weight 0 in the rest.
    """

    wordings: tuple[Wording, ...]
    weights: tuple[tuple[float, ...], ...]

    @cached_property
    def composed(self) -> tuple[bool, ...]:
        """Of which prompts the prediction is not simply that of the first wording."""
        return tuple(first != 1.0 or any(rest) for first, *rest in zip(*self.weights, strict=True))

    @cached_property
    def shares(self) -> torch.Tensor:
        """How much of each prompt's prediction is each wording's, float32 `[wording, prompt]`: the weights' sizes,
        together 1 for each prompt."""
        return shares_of(self.weights)


@dataclass(frozen=True, eq=False)
class Timeline:
    """A script for one number of steps.

    Attributes:
        moments: for each step its moment, the same object where nothing changes; one for all where nothing ever does.
        columns: what the maps of such a run are of.
    """

    moments: tuple[Moment, ...]
    columns: TextColumns

    def at(self, step: int) -> Moment:
        return self.moments[min(step, len(self.moments) - 1)]

    @cached_property
    def wordings(self) -> tuple[Wording, ...]:
        """Every wording once, in the order in which they come."""
        return tuple(dict.fromkeys(wording for moment in self.moments for wording in moment.wordings))

    @cached_property
    def texts(self) -> tuple[tuple[Wording, int], ...]:
        """Every strand of every wording, as (wording, number of the strand)."""
        return tuple((wording, strand) for wording in self.wordings for strand in range(len(wording.strands)))


@dataclass(frozen=True)
class _Plain:
    """One moment before it is encoded."""

    strands: tuple[Strands, ...]
    weights: tuple[tuple[float, ...], ...]

    @property
    def chunks(self) -> int:
        """Rows of one batch are equally long, so every prompt, negative or not, gets the chunks of the longest."""
        return max(
            len(encoder.chunks)
            for strands in self.strands
            for strand in strands
            for plan in strand.plans
            for encoder in (*plan.encoders, *plan.negative)
        )


class Script:
    """The prompts of a run, and what they are at each step of as many as a pipeline turns out to make.

    The number of steps is known when the denoiser is first called. Until then one wording, the carrier, stands for
    them all: the pipeline is given it, and by its rows a call is recognised.

    Args:
        report: is handed every finding about a prompt, once.

    Raises:
        ConfigError: for a negative prompt joined by AND.
        CaptureError: for words to capture that the prompts never have.
    """

    def __init__(
        self,
        pipe: Any,
        prompts: Sequence[Prompt],
        negatives: Sequence[Prompt | None],
        wordings: Wordings,
        *,
        capture: Capture | None,
        report: Callable[[str], None],
    ) -> None:
        self._prompts = tuple(prompts)
        self._negatives = tuple(negatives)
        self._wordings = wordings
        self._capture = capture
        self._report = report
        self._timelines: dict[int, Timeline] = {}
        self._told: set[str] = set()
        for negative in negatives:
            if negative is not None and any(isinstance(node, And) for node in negative.nodes):
                raise ConfigError(
                    f"the negative prompt {negative.render()!r} joins texts with AND, which adds predictions of the"
                    " prompt; put a comma there, or write it in small letters to have the word."
                )
        usual = _usual_steps(pipe)
        self._carrier = self._carrying(usual)
        if capture is not None and capture.words is not None:
            check_words(prompts, self._said([usual, _MANY_STEPS] if self.is_scheduled else [1]), capture)

    @cached_property
    def is_scheduled(self) -> bool:
        """Whether anything changes from step to step."""
        return any(prompt.is_scheduled for prompt in (*self._prompts, *self._negatives) if prompt is not None)

    @cached_property
    def is_composed(self) -> bool:
        """Whether any prompt is a sum of predictions."""
        return any(prompt.parts[0].prompt is not prompt for prompt in self._prompts)

    @property
    def is_blended(self) -> bool:
        """Whether the carrier is a mixture of several texts."""
        return any(len(strands) > 1 for strands in self._carrier.strands)

    @property
    def prompts(self) -> int:
        """How many prompts there are."""
        return len(self._prompts)

    @property
    def plans(self) -> tuple[TokenPlan, ...]:
        """The carrier's plans."""
        return self._carrier.strands[0][0].plans

    @cached_property
    def carrier(self) -> Wording:
        """The wording whose embeddings the pipeline is given. Encodes it."""
        self._tell(self._carrier)
        return self._wordings.wording(self._carrier.strands[0], self._carrier.chunks)

    def timeline(self, steps: int) -> Timeline:
        """What is said in a run of so many steps. Plans and encodes what has not been before; raises what that does."""
        key = steps if self.is_scheduled else 0
        if key not in self._timelines:
            self._timelines[key] = self._made(steps)
        return self._timelines[key]

    def _made(self, steps: int) -> Timeline:
        plain = self._moments(steps)
        known: dict[_Plain, Moment] = {}
        for each in plain:
            if each not in known:
                self._tell(each)
                known[each] = Moment(
                    tuple(self._wordings.wording(strands, each.chunks) for strands in each.strands), each.weights
                )
        moments = tuple(known[each] for each in plain)
        wordings = dict.fromkeys(wording for moment in known.values() for wording in moment.wordings)
        columns = text_columns(self._prompts, list(wordings), self._capture)
        if self.is_scheduled:
            self._tell_unseen(steps, columns)
        return Timeline(moments, columns)

    def _moments(self, steps: int) -> list[_Plain]:
        """What is said at each step; a single entry where nothing changes."""
        if not self.is_scheduled:
            return [self._plain(self._prompts, self._negatives)]
        prompts = [_at_steps(prompt, steps) for prompt in self._prompts]
        negatives = [[None] * steps if prompt is None else _at_steps(prompt, steps) for prompt in self._negatives]
        found: list[_Plain] = []
        known: dict[tuple[int, ...], _Plain] = {}
        for said in zip(*prompts, *negatives, strict=True):
            key = tuple(map(id, said))
            if key not in known:
                positive = [each for each in said[: len(prompts)] if each is not None]
                known[key] = self._plain(positive, said[len(prompts) :])
            found.append(known[key])
        return found

    def _plain(self, prompts: Sequence[Prompt], negatives: Sequence[Prompt | None]) -> _Plain:
        parts = [list(prompt.parts) for prompt in prompts]
        count = max(map(len, parts))
        strands, weights = [], []
        for at in range(count):
            taken = [(each[at].prompt, each[at].weight) if at < len(each) else (each[0].prompt, 0.0) for each in parts]
            strands.append(self._wordings.strands([prompt for prompt, _ in taken], negatives))
            weights.append(tuple(weight for _, weight in taken))
        return _Plain(tuple(strands), tuple(weights))

    def _carrying(self, steps: int) -> _Plain:
        """The first moment whose rows can be told from those of the negative prompt, or the very first."""
        moments = self._moments(steps)
        return next((each for each in moments if _tells(each)), moments[0])

    def _said(self, lengths: Sequence[int]) -> list[list[Version]]:
        """For each prompt all that it is in runs of these lengths."""
        moments = (moment for steps in lengths for moment in dict.fromkeys(self._moments(steps)))
        strands = (strand for moment in moments for strands in moment.strands for strand in strands)
        return [list(known.values()) for known in versions_of(strands, self.prompts)]

    # Findings.

    def _tell(self, moment: _Plain) -> None:
        for strand in (strand for strands in moment.strands for strand in strands):
            for plan in strand.plans:
                self._tell_once(map(str, plan.diagnostics))

    def _tell_unseen(self, steps: int, columns: TextColumns) -> None:
        for prompt in self._prompts:
            self._tell_once(map(str, find_in_timeline(prompt, steps)))
        for negative in self._negatives:
            for finding in () if negative is None else find_in_timeline(negative, steps):
                self._tell_once([str(replace(finding, source="negative_prompt"))])
        for reason in columns.missing:
            self._tell_once([f"a word to capture is never in force in a run of {steps} steps: {reason}"])

    def _tell_once(self, findings: Iterable[str]) -> None:
        for finding in findings:
            if finding not in self._told:
                self._told.add(finding)
                self._report(finding)


def _at_steps(prompt: Prompt, steps: int) -> list[Prompt]:
    """The prompt at each step, the same object while it stays the same."""
    starts, prompts = zip(*prompt.timeline(steps), strict=True)
    lengths = [stop - start for start, stop in zip(starts, (*starts[1:], steps), strict=True)]
    return [each for each, length in zip(prompts, lengths, strict=True) for _ in range(length)]


def _tells(moment: _Plain) -> bool:
    """Whether the rows of the prompts are others than those of the negative prompts."""
    strand = moment.strands[0][0]
    return [plan.prompt for plan in strand.plans] != [plan.negative_prompt for plan in strand.plans]


def _usual_steps(pipe: Any) -> int:
    """How many steps the pipeline makes unless it is told."""
    default = getattr(inspect.signature(pipe.__call__).parameters.get("num_inference_steps"), "default", None)
    return default if isinstance(default, int) and default > 0 else _USUAL_STEPS
