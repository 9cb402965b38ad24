"""Which way an attention call goes, and why: decided from shapes and settings alone, never from values."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from promptattn.core.kernels import Kernel, chosen_by_sdpa, ready
from promptattn.core.logits import Scores
from promptattn.core.weights import KeyWeights

__all__ = ["DENSE_KEYS", "Explanation", "choose"]

# Up to this many keys explicit logits cost little beside the projections around them.
DENSE_KEYS = 128


@dataclass(frozen=True)
class Explanation:
    """The way a call to `attention` takes.

    path: "sdpa" (the library's own call and nothing else), "fused+lse" (the kernel SDPA would choose; columns from its
        log-sum-exp), "sdpa+lse" (the library's own call, and a second fused pass for the log-sum-exp), "sdpa+dense"
        (the library's own call; columns from explicit logits), "merge", "correction" (see `promptattn.core.merge`) or
        "dense" (explicit logits, a block of query rows at a time).
    kernel: the fused kernel in use, or "" where there is none (or where the library chooses).
    reason: why, in words.
    """

    path: str
    kernel: str
    reason: str


def choose(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None, gqa: bool,
    scores: Scores, full_value: Tensor, weights: KeyWeights | None, watched: bool, dropout_p: float,
    given: Kernel | None = None,
) -> Explanation:  # fmt: skip
    """The path for these tensors. `scores` and `full_value` are the same tensors brought to four dimensions."""
    length = scores.key.shape[2]
    if weights is None and given is not None:
        return Explanation("fused+lse", given.name, "the kernel that was given")
    if weights is None:
        kernel = None if dropout_p else chosen_by_sdpa(query, key, value, mask, is_causal, scale, gqa)
        if not watched:
            return Explanation("sdpa", kernel.name if kernel else "", "nothing to weigh and nothing to watch")
        if kernel is not None:
            return Explanation("fused+lse", kernel.name, "SDPA would run this kernel, and it returns its log-sum-exp")
        if length <= DENSE_KEYS:
            return Explanation("sdpa+dense", "", f"SDPA takes no fused kernel here, and {length} keys are few")
    elif dropout_p:
        return Explanation("dense", "", "dropout acts on the weighted probabilities, which no fused kernel shows")
    elif 2 * weights.index.shape[0] > length and length <= DENSE_KEYS:
        return Explanation("dense", "", f"{length} keys are few, and most of them are weighted")
    elif weights.index.shape[0] >= length:
        return Explanation("dense", "", "every key is weighted, so none is left for a fused kernel")
    kernel = given or _fused(scores, full_value)
    if kernel is None:
        return Explanation(
            "dense" if weights else "sdpa+dense", "", "no fused kernel with a log-sum-exp takes these tensors"
        )
    if weights is None:
        return Explanation(
            "sdpa+lse", kernel.name, "SDPA takes no kernel with a log-sum-exp here, so it gives the output only"
        )
    if weights.correctable:
        return Explanation("correction", kernel.name, _why_corrected(weights))
    if scores.is_causal and scores.query.shape[-1] >= kernel.head_limit:
        return Explanation("dense", "", "causal, and no channel is left to hide the weighted keys with")
    return Explanation("merge", kernel.name, _why_merged(weights))


def _why_corrected(weights: KeyWeights) -> str:
    if weights.counts:
        return f"the weights are known to be at least {weights.floor}"
    return "the weights multiply values alone"


def _why_merged(weights: KeyWeights) -> str:
    if weights.counts:
        return "the weights may be small, or are known only on the device"
    return "scores of the weighted keys are scaled"


def _fused(scores: Scores, value: Tensor) -> Kernel | None:
    query, key, value = ready(scores.query, scores.key, value)
    grouped = key.shape[1] != query.shape[1]
    return chosen_by_sdpa(query, key, value, scores.mask, scores.is_causal, scores.scale, grouped)
