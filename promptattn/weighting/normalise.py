"""Normalisations of token weights, done before an embedding method sees them.

Formulas: BlenderNeko/ComfyUI_ADV_CLIP_emb, adv_encode.py ("token normalization"). A word is there what stands between
two spaces within a run of equal weight, punctuation at its ends included.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence

from promptattn.prompt import EncoderPlan
from promptattn.weighting.embedding import Normalisation

__all__ = ["normalised", "words_of"]

Rows = tuple[int, ...]


def words_of(plan: EncoderPlan) -> tuple[Rows, ...]:
    """The rows of each word of the prompt, in order; rows count through all windows. Rows of no token are left out."""
    prompt = plan.prompt
    starts = {match.start() for match in re.finditer(r"\S+", prompt.text)} | {start for start, _ in prompt.ranges}
    ordered = sorted(starts)
    words: dict[int, list[int]] = {}
    for token in plan.tokens:
        words.setdefault(bisect_right(ordered, token.start), []).append(token.slot)
    return tuple(tuple(rows) for rows in words.values())


def normalised(weights: Sequence[float], words: Sequence[Rows], kind: Normalisation) -> list[float]:
    """The weights of all rows, those of the words normalised.

    length: w' = 1 + (w - 1) / sqrt(n), n the number of the word's tokens
    mean:   w' = w + 1 - mean(w), the mean over the tokens of all words
    length+mean: the first, then the second.
    """
    result = list(weights)
    if kind.startswith("length"):
        for rows in words:
            for row in rows:
                result[row] = 1 + (result[row] - 1) / len(rows) ** 0.5
    inside = [row for rows in words for row in rows]
    if kind.endswith("mean") and inside:
        shift = 1 - sum(result[row] for row in inside) / len(inside)
        for row in inside:
            result[row] += shift
    return result
