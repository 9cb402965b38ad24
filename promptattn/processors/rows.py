"""Which rows of a denoiser's batch belong to which prompt, recognised by the text embeddings themselves.

Batch size says nothing: guidance may put negative and positive rows in one call or in two, in either order, or not
at all, and perturbed-attention guidance repeats the positive rows. The embeddings that were encoded for the run do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import torch

from promptattn.errors import CaptureError, UnsupportedModelError

__all__ = ["Block", "Known", "recognise", "recognise_known"]

Kind = Literal["negative", "positive"]


@dataclass(frozen=True)
class Block:
    """A run of rows `start:stop` of the batch that holds all prompts once, each `images_per_prompt` times in a row.

    shift: how much further back the text's rows stand than they were planned, as where the batch is filled up in front.
    """

    kind: Kind
    start: int
    stop: int
    images_per_prompt: int
    shift: int = 0

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
    perturbed: bool = False,
    guided: bool | None = None,
) -> tuple[Block, ...]:
    """The blocks of a batch of text embeddings, or an empty tuple when the text is not this run's.

    Args:
        text: `[batch, token, channel]`, what the denoiser was given.
        positive: `[prompt, token, channel]`, what was encoded for the prompts.
        negative: `[prompt, token, channel]`, likewise for the negative prompts, or None without guidance.
        images_per_prompt: how many rows each prompt has in a block, if known; it settles what stays ambiguous.
        negative_first: which comes first where negative and positive embeddings are equal and only order can tell.
        perturbed: whether perturbed-attention guidance is on, which adds a second block of positive rows.
        guided: whether classifier-free guidance is on, if known; it too settles what stays ambiguous.

    Raises:
        CaptureError: when the rows can be read in more than one way and no hint settles it.
    """
    readings = []
    for layout in _layouts(negative_first, perturbed):
        per_prompt, rest = divmod(text.shape[0], len(layout) * positive.shape[0])
        if rest or not per_prompt:
            continue
        known = {"positive": positive, "negative": negative}
        parts = text.chunk(len(layout))
        if all(_equal(part, known[kind], per_prompt) for part, kind in zip(parts, layout, strict=True)):
            readings.append((layout, per_prompt))
    # Of two orders of the same blocks both fit only where the texts are equal: the first is the pipeline's own order.
    readings = [each for at, each in enumerate(readings) if len(each[0]) not in {len(e[0]) for e in readings[:at]}]
    if images_per_prompt is not None:
        readings = [each for each in readings if each[1] == images_per_prompt] or readings
    if guided is not None:
        readings = [each for each in readings if ("negative" in each[0]) == guided] or readings
    if not readings:
        return ()
    if len(readings) > 1:
        raise CaptureError(
            f"the denoiser's {text.shape[0]} rows of text can be read in {len(readings)} ways, because prompt and"
            " negative prompt are the same text; say num_images_per_prompt to attend(), or change one of the prompts."
        )
    layout, per_prompt = readings[0]
    length = per_prompt * positive.shape[0]
    return tuple(Block(kind, index * length, (index + 1) * length, per_prompt) for index, kind in enumerate(layout))


def _layouts(negative_first: bool, perturbed: bool) -> list[tuple[Kind, ...]]:
    """Every order of blocks that one denoiser call may have; where two are of one length, the likelier stands first."""
    if perturbed:
        return [("negative", "positive", "positive"), ("positive", "positive")]
    guided: list[tuple[Kind, ...]] = [("negative", "positive"), ("positive", "negative")]
    return [("positive",), ("negative",), *(guided if negative_first else guided[::-1])]


def _equal(rows: torch.Tensor, known: torch.Tensor | None, per_prompt: int) -> bool:
    """Whether the rows are all the known embeddings in order, each `per_prompt` times."""
    if known is None or rows.shape[1:] != known.shape[1:]:
        return False
    known = known.to(device=rows.device, dtype=rows.dtype).repeat_interleave(per_prompt, dim=0)
    return torch.equal(rows, known)


@dataclass(frozen=True)
class Known:
    """What a pipeline made of one text: `rows` `[token, channel]` without what it is filled up with, of which the first
    was planned as row `first`."""

    rows: torch.Tensor
    first: int


def recognise_known(
    text: torch.Tensor,
    known: Mapping[Kind, Sequence[Known]],
    *,
    negative_first: bool = True,
    perturbed: bool = False,
) -> tuple[Block, ...]:
    """The blocks of a batch in which texts of unequal length are filled up to one, in front or behind.

    text: `[batch, token, channel]`. known: for each kind what was made of the text of every prompt, if that is known.
    perturbed: whether perturbed-attention guidance is on, which adds a second block of positive rows. Rows of other
    texts belong to no block; it is empty where all do.

    Raises:
        UnsupportedModelError: when the prompts' rows do not follow each other as a pipeline lays them, or the texts of
            one block are filled up differently.
    """
    order: Sequence[Kind] = ("negative", "positive") if negative_first else ("positive", "negative")
    found = [_who(row, {kind: known.get(kind, ()) for kind in order}) for row in text]
    blocks: list[Block] = []
    for _, run in groupby(enumerate(found), key=lambda each: each[1] and each[1][0]):
        rows = [(at, each) for at, each in run if each is not None]
        if not rows:
            continue
        start, (kind, _, _) = rows[0]
        size = len(rows) // 2 if perturbed and kind == "positive" else len(rows)
        for first in range(0, len(rows), size):
            part = [each for _, each in rows[first : first + size]]
            blocks.append(_block(kind, part, known[kind], start + first))
    return tuple(blocks)


_Found = tuple[Kind, int, int]  # its kind, which prompt, and by how much it is shifted


def _who(row: torch.Tensor, known: Mapping[Kind, Sequence[Known]]) -> _Found | None:
    """Whose rows stand in a row of the batch. One text may begin as another does, whose rows are then the very same: of
    all that stand there the longest is it, and of equally long ones the first."""
    found = [
        (len(each.rows), (kind, number, start - each.first))
        for kind, texts in known.items()
        for number, each in enumerate(texts)
        if (start := _start(row, each.rows.to(row))) is not None
    ]
    return max(found, key=lambda each: each[0])[1] if found else None


def _start(row: torch.Tensor, part: torch.Tensor) -> int | None:
    """Where `part` stands in `row`, both `[token, channel]`; None where it does not."""
    if row.shape[1:] != part.shape[1:] or not 0 < len(part) <= len(row):
        return None
    first = (row[: len(row) - len(part) + 1] == part[0]).all(dim=1).nonzero().flatten().tolist()
    return next((at for at in first if torch.equal(row[at : at + len(part)], part)), None)


def _block(kind: Kind, rows: Sequence[_Found], texts: Sequence[Known], start: int) -> Block:
    per_prompt, rest = divmod(len(rows), len(texts))
    # Of equal texts the first is found.
    firsts = [next(at for at, other in enumerate(texts) if _same(each, other)) for each in texts]
    expected = [prompt for prompt in firsts for _ in range(per_prompt)]
    shifts = {shift for _, _, shift in rows}
    if rest or len(shifts) != 1 or [prompt for _, prompt, _ in rows] != expected:
        raise UnsupportedModelError(
            f"the denoiser's {len(rows)} rows of {kind} text do not lie as promptattn knows them (prompts"
            f" {[prompt for _, prompt, _ in rows]}, shifted by {sorted(shifts)}), so no weight or map can be placed."
        )
    return Block(kind, start, start + len(rows), per_prompt, shifts.pop())


def _same(one: Known, other: Known) -> bool:
    return one is other or (one.rows.shape == other.rows.shape and torch.equal(one.rows, other.rows))
