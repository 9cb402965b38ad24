"""The weighted softmax: the one place where explicit logits meet weights.

    p_j = |w_j| e^{s_j} / sum_j' |w_j'| e^{s_j'}          o = sum_j sign(w_j) p_j v_j       (the weights count)
    p_j = e^{s_j} / sum_j' e^{s_j'}                       o = sum_j w_j p_j v_j             (they do not)

Every attention that has its logits at hand comes here: dense, additive, sparse, and the few keys J of the merge.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Weighted", "mass", "weigh"]

# The largest exponent whose exponential float32 still holds. Only a key of weight (almost) 0 can lie this far above the
# rest, and its share is 0 whatever the exponential says; without the clamp it would be 0 * inf.
_TOP = 87.0


class Weighted(NamedTuple):
    """A weighted softmax.

    mass: `[..., K]`, each key's probability, in [0, 1].
    signed: `[..., K]`, what multiplies the values: `w e^s` over the normaliser, whether the weights count in it or not.
    rest: `[...]`, the probability left to the keys outside (see `weigh`), in [0, 1].
    lse: `[...]`, the log of the normaliser; +inf where no key is visible, so that `exp(s - lse)` is 0 there.
    """

    mass: Tensor
    signed: Tensor
    rest: Tensor | None
    lse: Tensor


def weigh(
    logits: Tensor, weight: Tensor | None = None, outside: Tensor | None = None, *, counts: bool = True
) -> Weighted:
    """The weighted softmax over the last dimension.

    logits: `[..., K]` float32 or float64, -inf where a key is hidden.
    weight: broadcastable to the logits; None means all 1.
    outside: `[...]`, the log of `sum e^s` over further, unweighted keys that share the normaliser; -inf for none.
    counts: whether the weights count in the mass, or multiply the values alone.

    Exact for every weight, continuous through 0, and differentiable there: the weights enter as factors, never as a
    logarithm that the gradient passes through. A row that sees no key gets zeros, not NaN.
    """
    with torch.no_grad():
        # Any shift gives the same result; this one is the largest term, so nothing that counts over- or underflows.
        heights = logits if weight is None or not counts else logits + weight.abs().log()
        top = heights.amax(dim=-1)
        top = top if outside is None else torch.maximum(top, outside)
        top = torch.where(top == -math.inf, torch.zeros_like(top), top)
    raised = (logits - top[..., None]).clamp(max=_TOP).exp()
    signed = raised if weight is None else raised * weight
    numerator = raised if weight is None or not counts else raised * weight.abs()
    total = numerator.sum(dim=-1)
    rest = None if outside is None else (outside - top).exp()
    total = total if rest is None else total + rest
    # Divided by infinity, a row without visible keys gives 0 for values and gradients alike.
    total = total.masked_fill(total == 0, math.inf)
    return Weighted(
        mass=numerator / total[..., None],
        signed=signed / total[..., None],
        rest=None if rest is None else rest / total,
        lse=top + total.log(),
    )


def mass(logits: Tensor, lse: Tensor, weight: Tensor | None = None) -> Tensor:
    """`|w| exp(s - lse)` for logits `[..., C]`, which are written over, and a normaliser `[...]` that is already known.

    The normaliser holds these very keys with these very weights, so that no key without one lies above it.
    """
    logits = logits.sub_(lse[..., None])
    return logits.exp_() if weight is None else logits.clamp_(max=_TOP).exp_() * weight.abs()
