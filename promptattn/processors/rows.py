"""Which rows of a denoiser's batch belong to which prompt, recognised by the text embeddings themselves.

Batch size says nothing: guidance may put negative and positive rows in one call or in two, in either order, or not
at all, and perturbed-attention guidance repeats the positive rows. The embeddings that were encoded for the run do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from promptattn.errors import CaptureError

__all__ = ["Block", "recognise"]

Kind = Literal["negative", "positive"]


@dataclass(frozen=True)
class Block:
    """A run of rows `start:stop` of the batch that holds all prompts once, each `images_per_prompt` times in a row."""

    kind: Kind
    start: int
    stop: int
    images_per_prompt: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.stop)


def recognise(
    text: torch.Tensor,
    positive: torch.Tensor,
    negative: torch.Tensor | None,
    *,
    images_per_prompt: int | None = None,
    negative_first: bool = True,
) -> tuple[Block, ...]:
    """The blocks of a batch of text embeddings, or an empty tuple when the text is not this run's.

    Args:
        text: `[batch, token, channel]`, what the denoiser was given.
        positive: `[prompt, token, channel]`, what was encoded for the prompts.
        negative: `[prompt, token, channel]`, likewise for the negative prompts, or None without guidance.
        images_per_prompt: how many rows each prompt has in a block, if known; it settles what stays ambiguous.
        negative_first: which comes first where negative and positive embeddings are equal and only order can tell.

    Raises:
        CaptureError: when the rows can be read in more than one way and neither hint settles it.
    """
    readings = []
    for blocks in (1, 2, 3):
        per_prompt, rest = divmod(text.shape[0], blocks * positive.shape[0])
        if rest or not per_prompt or (blocks == 3 and negative is None):
            continue
        kinds = [_kinds(part, positive, negative, per_prompt) for part in text.chunk(blocks)]
        if all(kinds):
            readings.append((per_prompt, kinds))
    if images_per_prompt is not None:
        readings = [reading for reading in readings if reading[0] == images_per_prompt] or readings
    if not readings:
        return ()
    if len(readings) > 1:
        raise CaptureError(
            f"the denoiser's {text.shape[0]} rows of text can be read in {len(readings)} ways, because prompt and negative"
            " prompt are the same text; say num_images_per_prompt to attend(), or change one of the prompts."
        )
    per_prompt, kinds = readings[0]
    length = per_prompt * positive.shape[0]
    return tuple(
        Block(kind, index * length, (index + 1) * length, per_prompt)
        for index, kind in enumerate(_settle(kinds, negative_first))
    )


def _kinds(
    rows: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor | None, per_prompt: int
) -> frozenset[Kind]:
    """What a block can be: its rows equal all the positive embeddings in order, all the negative ones, or both."""
    candidates: list[tuple[Kind, torch.Tensor | None]] = [("positive", positive), ("negative", negative)]
    return frozenset(kind for kind, known in candidates if known is not None and _equal(rows, known, per_prompt))


def _equal(rows: torch.Tensor, known: torch.Tensor, per_prompt: int) -> bool:
    if rows.shape[1:] != known.shape[1:]:
        return False
    known = known.to(device=rows.device, dtype=rows.dtype).repeat_interleave(per_prompt, dim=0)
    return torch.equal(rows, known)


def _settle(kinds: Sequence[frozenset[Kind]], negative_first: bool) -> list[Kind]:
    """One kind per block; blocks that could be either are told apart by order."""
    if all(len(kind) == 1 for kind in kinds):
        return [next(iter(kind)) for kind in kinds]
    if len(kinds) == 1:
        # One block is a call without guidance (with it, both prompts stand in the same call), so it is the prompt.
        return ["positive"]
    order: list[Kind] = ["negative", *["positive"] * (len(kinds) - 1)]
    return order if negative_first else order[::-1]
