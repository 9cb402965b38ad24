"""Other texts that an encoder is to read for a method: the empty prompt, and copies with words hidden or masked."""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from promptattn.errors import WeightingError
from promptattn.prompt import EncoderPlan
from promptattn.prompt.tokens import Tokenizer, encode

__all__ = ["Fragment", "Reading", "empty_reading", "fragments_of", "mask_token", "masked", "plain_reading"]


@dataclass(frozen=True)
class Reading:
    """What a text encoder is given to read for one prompt, all windows one after the other.

    ids: one per row; hidden: the rows that no row may attend to, beyond those that the pipeline hides anyway.
    """

    ids: tuple[int, ...]
    hidden: frozenset[int] = frozenset()


def plain_reading(plan: EncoderPlan) -> Reading:
    """The prompt itself."""
    return Reading(tuple(identity for chunk in plan.chunks for identity in chunk.ids))


def empty_reading(plan: EncoderPlan) -> Reading:
    """The empty prompt, in as many windows."""
    return Reading(plan.empty_chunk.ids * len(plan.chunks))


def masked(plan: EncoderPlan, rows: Collection[int], token: int) -> Reading:
    """The prompt with this token in the given rows."""
    ids = plain_reading(plan).ids
    return Reading(tuple(token if row in rows else identity for row, identity in enumerate(ids)))


def mask_token(tokenizer: Tokenizer, name: str) -> int:
    """The token that stands for a masked word: `+</w>` of CLIP's vocabularies, else the comma.

    BlenderNeko/ComfyUI_ADV_CLIP_emb has the number 266 and calls it the comma; in CLIP's vocabulary 266 is the plus
    sign (the comma is 267). It is the number that makes the embedding, so it is kept. Other tokenizers, which that tool
    does not know, take the comma that it meant.

    Raises `WeightingError` for a tokenizer that has neither.
    """
    for text, spelt in (("+", ("+</w>",)), (",", (",</w>", ",", "▁,"))):
        tokens, _ = encode(tokenizer, text, name)
        if tokens and tokenizer.convert_ids_to_tokens(tokens[-1].id) in spelt:
            return tokens[-1].id
    raise WeightingError(
        f"{name}: its tokenizer has neither '+' nor ',' as a token to mask words with, as the methods comfy++ and"
        " down_weight do; use weighting='attention', 'comfy' or 'compel', which need none."
    )


@dataclass(frozen=True)
class Fragment:
    """A run of tokens of equal weight: their weight, first and last row, and the windows of their part of the prompt
    (what stands between two breaks)."""

    weight: float
    first: int
    last: int
    windows: frozenset[int]

    def hidden(self, plan: EncoderPlan) -> frozenset[int]:
        """The rows to hide. As in compel everything between the ends of a run that crosses windows is hidden, the
        first row of a window and its last left out where they hold no token."""
        slots, window = plan.slots, plan.window
        return frozenset(
            row
            for row in range(self.first, self.last + 1)
            if slots[row].token is not None or row % window not in (0, window - 1)
        )


def fragments_of(plan: EncoderPlan, weights: Sequence[float]) -> list[Fragment]:
    """The runs of the prompt, in order; `weights` are those of all rows."""
    breaks = plan.prompt.breaks
    runs: list[tuple[int, float, list[int]]] = []
    windows: dict[int, set[int]] = {}
    for token in plan.tokens:
        part, weight = bisect_right(breaks, token.start), weights[token.slot]
        windows.setdefault(part, set()).add(token.chunk)
        if not runs or runs[-1][:2] != (part, weight):
            runs.append((part, weight, []))
        runs[-1][2].append(token.slot)
    return [Fragment(weight, rows[0], rows[-1], frozenset(windows[part])) for part, weight, rows in runs]
