"""Hearing what a pipeline makes of the prompts that it is given as text.

Most pipelines are given the embeddings of a run. Those whose text encoder reads the prompt inside a template cut, join
or fill up what it gives in ways of their own between `encode_prompt` and the denoiser. They encode the clean prompts
themselves, and nothing is changed but the weights of keys inside the text encoder; what `encode_prompt` gives is kept,
by which the denoiser's rows are recognised.
"""

import functools
import inspect
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from promptattn.denoisers import denoiser_of
from promptattn.errors import UnsupportedModelError
from promptattn.processors.layouts import Layout
from promptattn.processors.rows import Kind, Known
from promptattn.processors.segments import Spoken, row_encoders
from promptattn.processors.text_encoder import TextEncoderAttention
from promptattn.prompt import EncoderPlan
from promptattn.prompt.tokenising import given_ids
from promptattn.run.text.closed import left_alone
from promptattn.telling import tell
from promptattn.weighting import Weighting

__all__ = ["Hearing"]

_MISSING = object()


class Hearing:
    """For as long as it is installed, every text of a run that the pipeline encodes is heard.

    Args:
        plans: for each kind, each prompt's plans of the text encoders. Without a negative prompt there is no such kind.

    Attributes:
        known: for each kind that was heard, what was made of each prompt's text.
    """

    def __init__(
        self,
        pipe: Any,
        layout: Layout,
        spoken: Spoken,
        plans: Mapping[Kind, Sequence[tuple[EncoderPlan, ...]]],
        weighting: Weighting,
    ) -> None:
        self._pipe, self._layout, self._spoken = pipe, layout, spoken
        self._plans, self._weighting = plans, weighting
        self._texts = {kind: [each[0].prompt.text for each in prompts] for kind, prompts in plans.items()}
        self._undo = ExitStack()
        self._read: dict[str, list[tuple[int, ...]]] = {}
        self.known: dict[Kind, list[Known]] = {}

    def install(self) -> None:
        """Undone by :meth:`remove`.

        Raises:
            UnsupportedModelError: where weights must act in a text encoder and cannot.
        """
        with ExitStack() as stack:
            for at, plan in enumerate(next(iter(self._plans.values()))[0]):
                self._watch(stack, plan.name)
                self._weigh(stack, plan.name, [each[at] for prompts in self._plans.values() for each in prompts])
            self._listen(stack)
            self._undo = stack.pop_all()

    def remove(self) -> None:
        """Leave the pipeline as it was."""
        self._undo.close()

    # What is encoded.

    def _listen(self, stack: ExitStack) -> None:
        own, before = self._pipe.encode_prompt, vars(self._pipe).get("encode_prompt", _MISSING)
        signature, first = inspect.signature(own), self._spoken.first

        @functools.wraps(own)
        def encode_prompt(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind_partial(*args, **kwargs).arguments
            texts = {name: _listed(given.get(name)) for name in ("prompt", "negative_prompt")}
            self._read.clear()
            result = own(*args, **kwargs)
            if all(given.get(name, signature.parameters[name].default) == want for name, want in first.items()):
                self._hear(
                    texts["prompt"], texts["negative_prompt"], result if isinstance(result, tuple) else (result,)
                )
            return result

        stack.callback(self._restore, before)
        vars(self._pipe)["encode_prompt"] = encode_prompt

    def _watch(self, stack: ExitStack, name: str) -> None:
        """Note the ids that a text encoder is given."""

        def before(module: Any, args: Any, kwargs: Any) -> None:
            ids = given_ids(args, kwargs)
            if ids is not None:
                self._read.setdefault(name, []).extend(map(tuple, ids.tolist()))

        stack.callback(getattr(self._pipe, name).register_forward_pre_hook(before, with_kwargs=True).remove)

    def _restore(self, before: Any) -> None:
        if before is _MISSING:
            vars(self._pipe).pop("encode_prompt", None)
        else:
            vars(self._pipe)["encode_prompt"] = before

    def _hear(self, prompts: list[str], negatives: list[str], result: tuple[Any, ...]) -> None:
        at = self._spoken.negative
        for kind, texts in self._texts.items():
            if prompts == texts:
                self._keep(kind, result[self._spoken.positive])
            elif kind == "negative" and negatives == texts and at is not None and _given(result[at]):
                self._keep(kind, result[at])

    def _keep(self, kind: Kind, embeds: Any) -> None:
        rows = embeds if self._layout.as_rows is None else self._layout.as_rows(embeds)
        plans = self._plans[kind]
        self._check_read(plans)
        # Repeated for the images of each prompt.
        times = len(rows) // len(plans)
        cut = self._spoken.cut and kind == "negative"
        first = [row_encoders(denoiser_of(self._pipe), each)[0] for each in plans]
        self.known[kind] = [_known(rows[at * times], plan, cut=cut) for at, plan in enumerate(first)]

    def _check_read(self, plans: Sequence[tuple[EncoderPlan, ...]]) -> None:
        """Refuse a call whose arguments have the pipeline read a prompt otherwise than was planned."""
        for plan in (plan for each in plans for plan in each):
            rows = self._read.get(plan.name, [])
            if rows and not any(_place(row, plan) for row in rows):
                raise UnsupportedModelError(
                    f"{type(self._pipe).__name__} reads {plan.prompt.text!r:.40} in other tokens than were planned, as"
                    " where an argument of its call is about the template or the length of the prompt, so no weight or"
                    " map could be placed; leave that argument out, or give max_sequence_length to attend()."
                )

    # What the text encoders weigh.

    def _weigh(self, stack: ExitStack, name: str, plans: Sequence[EncoderPlan]) -> None:
        weigh = self._weighting.in_text_encoder
        if all(weigh(weight) == 1.0 for plan in plans for weight in plan.chunks[0].weights):
            return
        encoder = getattr(self._pipe, name)
        if left_alone(self._weighting, name, encoder):
            return
        attention = TextEncoderAttention(encoder)

        def before(module: Any, args: Any, kwargs: Any) -> None:
            ids = given_ids(args, kwargs)
            attention.weights = None if ids is None else _weights(ids, plans, self._weighting)

        handle = encoder.register_forward_pre_hook(before, with_kwargs=True)
        stack.callback(handle.remove)
        stack.callback(attention.detach)
        attention.attach()


def _given(embeds: Any) -> bool:
    """Whether a pipeline made embeddings at all: None and an empty list are what it has where it is not guided."""
    return embeds is not None and len(embeds) > 0


def _known(rows: torch.Tensor, plan: EncoderPlan, *, cut: bool) -> Known:
    """rows: `[token, channel]` of the encoder whose rows stand first; those that it is filled up with are left.

    cut: whether there may be fewer than were planned.
    """
    # An empty text may be nothing but what it is filled up with.
    filled = [at for at, slot in enumerate(plan.slots) if slot.kind != "padding"] or [0, len(plan.slots) - 1]
    first, stop = filled[0], filled[-1] + 1
    # Filled up in front to another length than was planned; behind, a pipeline fills up with zeros.
    further = rows[len(plan.slots) :]
    in_front = plan.frame.padding_side == "left" and not (len(further) and bool((further == 0).all()))
    moved = len(rows) - len(plan.slots) if in_front else 0
    start, end = max(first + moved, 0), max(first + moved, 0) + stop - first
    if end > len(rows):
        if not cut:
            raise UnsupportedModelError(
                f"{plan.name} was planned for {stop} rows of text, but the pipeline has {len(rows)} of it, so no row is"
                " known to be one word."
            )
        beyond = [token for token in plan.tokens if token.slot - first >= len(rows) - start]
        lost = [plan.words[word].text for word in sorted({each.word for each in beyond if each.word is not None})]
        tell(
            f"the negative prompt is cut to the {len(rows)} rows that the prompt has; {plan.name} reads none of"
            f" {', '.join(map(repr, lost))}."
        )
    return Known(rows[start:end], first)


def _weights(ids: torch.Tensor, plans: Sequence[EncoderPlan], weighting: Weighting) -> torch.Tensor | None:
    """Odds of the keys in one call of a text encoder, float32 `[batch, token]`; None where no text of it has any.

    Texts that are not the run's, such as a negative prompt of the pipeline's own, have none.
    """
    odds = torch.ones(tuple(ids.shape))
    for row, given in enumerate(ids.tolist()):
        for plan in plans:
            if place := _place(tuple(given), plan):
                start, rows = place
                weights = [weighting.in_text_encoder(plan.chunks[0].weights[at]) for at in rows]
                odds[row, start : start + len(rows)] = torch.tensor(weights)
                break
    return odds if bool((odds != 1).any()) else None


def _place(given: tuple[int, ...], plan: EncoderPlan) -> tuple[int, range] | None:
    """Where in the ids that an encoder is given the plan's own begin, and which of its rows these are; None where they
    are not in it. What both are filled up with is left out, and so is what does not fit."""
    chunk = plan.chunks[0]
    read = [at for at, slot in enumerate(chunk.slots) if slot.kind != "padding"] or [0]
    rows = range(read[0], min(read[-1] + 1, read[0] + len(given)))
    core = chunk.ids[rows.start : rows.stop]
    starts = dict.fromkeys((0, len(given) - len(core), rows.start))
    start = next((at for at in starts if at >= 0 and given[at : at + len(core)] == core), None)
    return None if start is None else (start, rows)


def _listed(text: Any) -> list[str]:
    return [] if text is None else [text] if isinstance(text, str) else list(text)
