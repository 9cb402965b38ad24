"""From token plans to the columns of the maps: which row of whose text is summed into which column."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import torch

from promptattn.errors import CaptureError, UnsupportedModelError
from promptattn.maps import ColumnInfo
from promptattn.maps.capture import Capture
from promptattn.processors.segments import Segment
from promptattn.prompt import EncoderPlan, TokenPlan, find
from promptattn.prompt.chunks import Slot

if TYPE_CHECKING:
    from promptattn.maps.records import ColumnKind

__all__ = ["TextColumns", "check_words", "text_columns", "text_weights"]


@dataclass(frozen=True)
class TextColumns:
    """What becomes of every row of the text embeddings.

    Attributes:
        groups: int64 `[prompt, row]`: the column of each row of the text, -1 for none.
        infos: for each prompt what its columns are. A kept token has one of its own; all start markers of an encoder
            share one, all its end markers one, and all its padding one, unless `capture.words` chooses words.
        text_rows: int64 `[query]`: the rows that hold a kept token in any of the prompts.
    """

    groups: torch.Tensor
    infos: list[tuple[ColumnInfo, ...]]
    text_rows: torch.Tensor

    @property
    def count(self) -> int:
        """The number of columns, of the prompt that has most."""
        return max(len(each) for each in self.infos)


def text_columns(
    plans: Sequence[TokenPlan], segments: Sequence[Segment], chunks: int, capture: Capture | None
) -> TextColumns:
    """The columns of every prompt, whose encoders' text lies in the rows that `segments` tells.

    Raises:
        CaptureError: when a word of `capture.words` is in none of the prompts, or is cut off in all of them.
        UnsupportedModelError: when encoders that share rows cut a prompt into different tokens.
    """
    for each in plans:
        _agree(each, segments)
    chosen = _chosen([_encoders(each, segments) for each in plans], capture)
    every = capture is None or capture.words is None
    groups, infos = [], []
    for each, wanted in zip(plans, chosen, strict=True):
        found: list[ColumnInfo] = []
        for segment in segments:
            found += _infos(each, segment, wanted, specials=every)
        place: dict[tuple[str, str, int | None], int] = {
            (info.encoder, info.kind, info.token): index for index, info in enumerate(found)
        }
        rows = [(segment, slot) for segment in segments for slot in _slots(each.encoders, segment, chunks)]
        groups.append([place.get((_name(segment), slot.kind, slot.token), -1) for segment, slot in rows])
        infos.append(tuple(found))
    tokens = [
        row
        for row, columns in enumerate(zip(*groups, strict=True))
        if any(column >= 0 and infos[prompt][column].kind == "token" for prompt, column in enumerate(columns))
    ]
    return TextColumns(torch.tensor(groups, dtype=torch.int64), infos, torch.tensor(tokens, dtype=torch.int64))


def check_words(plans: Sequence[TokenPlan], capture: Capture | None) -> None:
    """Refuse words to capture that no prompt has; raises `CaptureError`."""
    _chosen([each.encoders for each in plans], capture)


def text_weights(encoders: Sequence[EncoderPlan], segments: Sequence[Segment], chunks: int) -> list[float]:
    """The prompt weight of every row of the text embeddings; 1 on all rows that hold no token."""
    weights: list[float] = []
    for segment in segments:
        plan, rows = _plan(encoders, segment), len(_slots(encoders, segment, chunks))
        weights += [1.0] * rows if plan is None else plan.padded(chunks).weights
    return weights


def _name(segment: Segment) -> str:
    return segment.encoders[0] if segment.encoders else ""


def _plan(encoders: Sequence[EncoderPlan], segment: Segment) -> EncoderPlan | None:
    """The plan that tells what a segment's rows hold: its first encoder's."""
    return next((encoder for encoder in encoders if encoder.name == _name(segment)), None)


def _encoders(plan: TokenPlan, segments: Sequence[Segment]) -> list[EncoderPlan]:
    return [encoder for segment in segments if (encoder := _plan(plan.encoders, segment)) is not None]


def _slots(encoders: Sequence[EncoderPlan], segment: Segment, chunks: int) -> Sequence[Slot]:
    rows = segment.stop - segment.start
    plan = _plan(encoders, segment)
    slots = [Slot("padding")] * rows if plan is None else plan.padded(chunks).slots
    if len(slots) != rows:
        raise UnsupportedModelError(
            f"{_name(segment)} was planned for {len(slots)} rows of text, but the pipeline has {rows} of it, so no row"
            " is known to be one word."
        )
    return slots


def _infos(plan: TokenPlan, segment: Segment, wanted: set[tuple[str, int]], *, specials: bool) -> list[ColumnInfo]:
    encoder, name = _plan(plan.encoders, segment), _name(segment)
    if encoder is None:
        return [ColumnInfo("padding", "<zeros>")] if specials else []
    tokens = [
        ColumnInfo("token", token.text, token.index, token.chunk, name, token.word)
        for token in encoder.tokens
        if (name, token.index) in wanted
    ]
    if not specials:
        return tokens
    kinds = {slot.kind for slot in encoder.empty_chunk.slots}
    marks = {kind: ColumnInfo(cast("ColumnKind", kind), f"<{kind}>", encoder=name) for kind in kinds | {"padding"}}
    ends = [marks[kind] for kind in ("end", "padding") if kind in marks]
    return [*([marks["start"]] if "start" in marks else []), *tokens, *ends]


def _chosen(prompts: Sequence[Sequence[EncoderPlan]], capture: Capture | None) -> list[set[tuple[str, int]]]:
    """For each prompt (encoder, token) of all that have a column. A chosen word need not be in every prompt."""
    if capture is None or capture.words is None:
        return [{(each.name, token.index) for each in encoders for token in each.tokens} for encoders in prompts]
    chosen: list[set[tuple[str, int]]] = [set() for _ in prompts]
    for word in capture.words:
        phrase, occurrence = (word, 0) if isinstance(word, str) else word
        missing: CaptureError | None = None
        tokens = 0
        for encoders, wanted in zip(prompts, chosen, strict=True):
            for encoder in encoders:
                try:
                    words = find(encoder.words, phrase, occurrence)
                except CaptureError as error:
                    missing = missing or error
                    continue
                found = {(encoder.name, token) for each in words for token in each.tokens}
                wanted |= found
                tokens += len(found)
        if not tokens:
            raise missing or CaptureError(f"Capture(words=...): {phrase!r} is cut off before it reaches the model.")
    return chosen


def _agree(each: TokenPlan, segments: Sequence[Segment]) -> None:
    """Encoders whose embeddings stand side by side in one text row must cut the prompt into the same slots."""
    for segment in segments:
        for plans in (each.encoders, each.negative):
            sharing = [plan for plan in plans if plan.name in segment.encoders]
            for first, other in pairwise(sharing):
                if [(slot.kind, slot.token) for slot in first.slots] != [(s.kind, s.token) for s in other.slots]:
                    raise UnsupportedModelError(
                        f"{first.name} and {other.name} cut the prompt into different tokens, so their embeddings do"
                        " not line up and no row of text is one word; words can be neither weighted nor watched in"
                        " this model."
                    )
