"""Which rows of a denoiser's batch belong to which prompt, recognised by the text embeddings themselves.

Batch size says nothing: guidance may put negative and positive rows in one call or in two, in either order, or not
at all, and perturbed-attention guidance repeats the positive rows. The embeddings that were encoded for the run do.
"""

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
