"""Exact re-weighting of a few keys around a fused kernel, by merging or by correcting.

merge      o_R, lse_R = kernel(q, k without J, v without J), then J joins through the log-sum-exp
correct    o, lse = kernel(q, k, v), then  o' = (o + sum_J (w_j - 1) P_ij v_j) / (1 + sum_J (|w_j| - 1) P_ij)

Merging is exact for every weight and every rule. Correcting spares the copy of the keys and values, but for odds it
divides by as little as min |w|: at P near 1 and w near 0 it loses everything to cancellation, so it runs only where the
host knows the weights. By the rule "values" the normaliser stays: the denominator is 1, and correcting always safe.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from promptattn.core.chunks import chunks
from promptattn.core.kernels import Kernel, ready, run_with_lse
from promptattn.core.logits import Scores, select_rows, working_dtype
from promptattn.core.softmax import mass, weigh
from promptattn.core.weights import KeyWeights

__all__ = ["correct", "join", "merge"]

# A score this low has exponential 0 beside any other, and still leaves float32 room for the score itself.
_HIDE = 1e6


def merge(kernel: Kernel, scores: Scores, value: Tensor, weights: KeyWeights) -> tuple[Tensor, Tensor]:
    """Output `[batch, head, query, dim]` and lse' `[batch, head, query]` of the weighted attention."""
    rest, rest_lse = _kernel_without(kernel, scores, value, weights.index)
    return join(scores, value, weights, rest, rest_lse)


def join(scores: Scores, value: Tensor, weights: KeyWeights, rest: Tensor, rest_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Joins the weighted keys to an attention `rest` over all the others.

    rest: `[batch, head, query, dim]`; rest_lse: `[batch, head, query]`, +inf in rows that see none of the others.
    Returns the output in the query's dtype, and lse'.
    """
    query = scores.query
    value_j = _values_of(value, weights.index, query)
    weight = weights.expand(query.shape[2], working_dtype(query))
    watched = scores.keys(weights.index)._replace(gain=weights.gain(weight))
    outside = torch.where(rest_lse == math.inf, -math.inf, rest_lse)
    outputs, normalisers = [], []
    for rows in chunks(query.shape[2], _bytes_per_row(watched, value), query.device):
        w = select_rows(weight, rows, 2, broadcast=True)
        part = weigh(watched.rows(rows).logits(), w, outside[:, :, rows], counts=weights.counts)
        assert part.rest is not None
        added = part.signed @ value_j
        outputs.append(torch.addcmul(added, rest[:, :, rows].to(added.dtype), part.rest[..., None]).to(query.dtype))
        normalisers.append(part.lse)
    return torch.cat(outputs, dim=2), torch.cat(normalisers, dim=2)


def correct(kernel: Kernel, scores: Scores, value: Tensor, weights: KeyWeights) -> tuple[Tensor, Tensor]:
    """The same as `merge`, where `weights.correctable`.

    Rows outside `weights.query_rows`, where that is a slice, keep the kernel's output bit for bit.
    """
    length, dtype = scores.query.shape[2], scores.query.dtype
    output, lse = _run(kernel, scores, value)
    value_j = _values_of(value, weights.index, scores.query)
    weight = weights.expand(length, value_j.dtype)
    watched = scores.keys(weights.index)
    within, before, after = weights.query_rows, [], []
    if isinstance(within, slice):
        start, stop, _ = within.indices(length)
        before = [(output[:, :, :start], lse[:, :, :start])]
        after = [(output[:, :, max(start, stop) :], lse[:, :, max(start, stop) :])]
        watched, weight = watched.rows(within), select_rows(weight, within, 2, broadcast=True)
        output, lse = output[:, :, within], lse[:, :, within]
    changed = []
    for rows in chunks(output.shape[2], _bytes_per_row(watched, value), output.device):
        share = mass(watched.rows(rows).logits(), lse[:, :, rows])
        w = select_rows(weight, rows, 2, broadcast=True)
        if not weights.counts:
            added = ((w - 1) * share) @ value_j
            changed.append(((output[:, :, rows] + added).to(dtype), lse[:, :, rows]))
            continue
        total = 1 + ((w.abs() - 1) * share).sum(dim=-1)
        factor = 1 / total[..., None]
        added = ((w - 1) * share * factor) @ value_j
        part = torch.addcmul(added, output[:, :, rows].to(added.dtype), factor)
        changed.append((part.to(dtype), lse[:, :, rows] + total.log()))
    outputs, normalisers = zip(*before, *changed, *after, strict=True)
    return torch.cat(outputs, dim=2), torch.cat(normalisers, dim=2)


def _without_keys(index: Tensor, length: int) -> Tensor:
    """The keys that are not in `index`, ascending: int64 `[length - J]`.

    A stable sort of the membership keeps the shape known beforehand, where `nonzero` would wait for the device.
    """
    removed = torch.zeros(length, dtype=torch.uint8, device=index.device).index_fill_(0, index, 1)
    return removed.argsort(stable=True)[: length - index.shape[0]]


def _run(kernel: Kernel, scores: Scores, value: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel's output, 0 in rows that see no key, and its lse, +inf there."""
    inputs = ready(scores.query, scores.key, value)
    output, lse = run_with_lse(kernel, *inputs, scores.mask, scores.is_causal, scores.scale)
    output = output[..., : value.shape[-1]]
    if scores.mask is not None:
        # A kernel may leave anything in such a row, and 0 times NaN would not be 0.
        output = output.masked_fill((lse == math.inf)[..., None], 0)
    return output, lse


def _kernel_without(kernel: Kernel, scores: Scores, value: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel over the keys outside `index`; lse is +inf where none of them is visible."""
    if not scores.is_causal:
        kept = _without_keys(index, scores.key.shape[2])
        return _run(kernel, scores.keys(kept), value.index_select(2, kept))
    # Taking keys out would shift the rest against the causal diagonal, and an explicit mask would be query x key large.
    # One more channel hides them instead: `[q, a]` and `[k, 0]`, but `[k, -a]` for the keys in `index`, lowers their
    # scores by `scale * a^2`.
    height = math.sqrt(_HIDE / scores.scale)
    query, key = scores.query, scores.key
    channel = key.new_zeros(key.shape[2]).index_fill(0, index, -height)
    key = torch.cat([key, channel[:, None].expand(*key.shape[:-1], 1)], dim=-1)
    query = torch.cat([query, query.new_full((1,), height).expand(*query.shape[:-1], 1)], dim=-1)
    output, lse = _run(kernel, scores._replace(query=query, key=key), value)
    return output, lse.masked_fill(lse < -_HIDE / 2, math.inf)


def _values_of(value: Tensor, index: Tensor, query: Tensor) -> Tensor:
    """The values of the keys in `index`, one head per query head: `[batch, head, J, dim]` in the working dtype."""
    picked = value.index_select(2, index).to(working_dtype(query))
    return picked.repeat_interleave(query.shape[1] // value.shape[1], dim=1)


def _bytes_per_row(watched: Scores, value: Tensor) -> int:
    width = watched.query.shape[-1] + 2 * value.shape[-1] + 4 * watched.key.shape[2]
    return 4 * watched.query.shape[0] * watched.query.shape[1] * width
