"""From token plans to the columns of the maps: which text key of which prompt is summed into which column."""

from collections.abc import Sequence

import torch

from promptattn.errors import CaptureError, UnsupportedModelError
from promptattn.maps import ColumnInfo
from promptattn.maps.capture import Capture
from promptattn.prompt import EncoderPlan, TokenPlan, find

__all__ = ["columns"]


def columns(
    plans: Sequence[TokenPlan], chunks: int, capture: Capture | None
) -> tuple[torch.Tensor, list[tuple[ColumnInfo, ...]]]:
    """The columns of every prompt in so many chunks, and where each text key goes.

    Returns:
        groups: int64 `[prompt, token]` over all chunks' slots: the column of each text key, -1 for none.
        infos: for each prompt what its columns are. A kept prompt token has one of its own; all start markers share
            one, all end markers one, and all padding one, unless `capture.words` chooses some words only.

    Raises:
        CaptureError: when a word of `capture.words` is in none of the prompts, or is cut off in all of them.
    """
    for each in plans:
        _agree(each)
    encoders = [each.encoders[0].padded(chunks) for each in plans]
    chosen = _chosen(encoders, capture)
    rows, infos = [], []
    for encoder, wanted in zip(encoders, chosen, strict=True):
        infos.append(_infos(encoder, wanted, specials=capture is None or capture.words is None))
        place: dict[tuple[str, int | None], int] = {
            (info.kind, info.token): index for index, info in enumerate(infos[-1])
        }
        rows.append([place.get((slot.kind, slot.token), -1) for slot in encoder.slots])
    return torch.tensor(rows, dtype=torch.int64), infos


def _infos(encoder: EncoderPlan, wanted: set[int], *, specials: bool) -> tuple[ColumnInfo, ...]:
    tokens = [
        ColumnInfo("token", token.text, token.index, token.chunk) for token in encoder.tokens if token.index in wanted
    ]
    if not specials:
        return tuple(tokens)
    return (ColumnInfo("start", "<start>"), *tokens, ColumnInfo("end", "<end>"), ColumnInfo("padding", "<padding>"))


def _chosen(encoders: Sequence[EncoderPlan], capture: Capture | None) -> list[set[int]]:
    """For each prompt the indices of the tokens that have a column. A chosen word need not be in every prompt."""
    if capture is None or capture.words is None:
        return [{token.index for token in encoder.tokens} for encoder in encoders]
    chosen: list[set[int]] = [set() for _ in encoders]
    for word in capture.words:
        phrase, occurrence = (word, 0) if isinstance(word, str) else word
        missing: CaptureError | None = None
        tokens = 0
        for encoder, wanted in zip(encoders, chosen, strict=True):
            try:
                found = {token for each in find(encoder.words, phrase, occurrence) for token in each.tokens}
            except CaptureError as error:
                missing = missing or error
                continue
            wanted |= found
            tokens += len(found)
        if not tokens:
            raise missing or CaptureError(f"Capture(words=...): {phrase!r} is cut off before it reaches the model.")
    return chosen


def _agree(each: TokenPlan) -> None:
    """Encoders whose embeddings stand side by side in one text row must cut the prompt into the same slots."""
    for encoders in (each.encoders, each.negative):
        first = encoders[0]
        for other in encoders[1:]:
            if [(slot.kind, slot.token) for slot in first.slots] != [(slot.kind, slot.token) for slot in other.slots]:
                raise UnsupportedModelError(
                    f"{first.name} and {other.name} cut the prompt into different tokens, so their embeddings do not"
                    " line up and no row of text is one word; words can be neither weighted nor watched in this model."
                )
