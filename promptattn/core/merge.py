"""Exact re-weighting of a few keys around a fused kernel, by merging or by correcting.

merge      o_R, lse_R = kernel(q, k without J, v without J), then J joins through the log-sum-exp
correct    o, lse = kernel(q, k, v), then  o' = (o + sum_J (w_j - 1) P_ij v_j) / (1 + sum_J (|w_j| - 1) P_ij)

Merging is exact for every weight and every rule. Correcting spares the copy of the keys and values, but for odds it
divides by as little as min |w|: at P near 1 and w near 0 it loses everything to cancellation, so it runs only where the
host knows the weights. By the rule "values" the normaliser stays: the denominator is 1, and correcting always safe.
"""

from __future__ import annotations

import math
from collections.abc import Callable

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
    """Joins the weighted keys to an attention `rest` over all the others, which is written over without gradients.

    rest: `[batch, head, query, dim]`; rest_lse: `[batch, head, query]`, +inf in rows that see none of the others.
    Returns the output, of the query's precision, and lse'.
    """
    query = scores.query
    value_j = _values_of(value, weights.index, query)
    weight = weights.expand(query.shape[2], working_dtype(query))
    watched = scores.keys(weights.index)._replace(gain=weights.gain(weight))
    outside = torch.where(rest_lse == math.inf, -math.inf, rest_lse)

    def joined(rows: slice) -> tuple[Tensor, Tensor]:
        w = select_rows(weight, rows, 2, broadcast=True)
        part = weigh(watched.rows(rows).logits(), w, outside[:, :, rows], counts=weights.counts)
        assert part.rest is not None
        output = part.signed @ value_j
        output.addcmul_(rest[:, :, rows].to(output.dtype), part.rest[..., None])
        return output.to(query.dtype), part.lse

    return _in_pieces(joined, rest, rest_lse, None, _bytes_per_row(watched, value))


def correct(kernel: Kernel, scores: Scores, value: Tensor, weights: KeyWeights) -> tuple[Tensor, Tensor]:
    """The same as `merge`, where `weights.correctable`.

    Rows outside `weights.query_rows`, where that is a slice, keep the kernel's output bit for bit.
    """
    output, lse = _run(kernel, scores, value)
    value_j = _values_of(value, weights.index, scores.query)
    weight = weights.expand(scores.query.shape[2], value_j.dtype)
    within = weights.query_rows if isinstance(weights.query_rows, slice) else None
    watched = scores.keys(weights.index).rows(within)
    weight = select_rows(weight, within, 2, broadcast=True)
    before, before_lse = select_rows(output, within, 2), select_rows(lse, within, 2)

    def corrected(rows: slice) -> tuple[Tensor, Tensor]:
        share = mass(watched.rows(rows).logits(), before_lse[:, :, rows])
        w = select_rows(weight, rows, 2, broadcast=True)
        if not weights.counts:
            added = ((w - 1) * share) @ value_j
            return added.add_(before[:, :, rows]).to(output.dtype), before_lse[:, :, rows]
        total = 1 + ((w.abs() - 1) * share).sum(dim=-1)
        factor = 1 / total[..., None]
        added = ((w - 1) * share * factor) @ value_j
        added.addcmul_(before[:, :, rows].to(added.dtype), factor)
        return added.to(output.dtype), before_lse[:, :, rows] + total.log()

    return _in_pieces(corrected, output, lse, within, _bytes_per_row(watched, value))


def _in_pieces(
    changed: Callable[[slice], tuple[Tensor, Tensor]],
    output: Tensor,
    lse: Tensor,
    within: slice | None,
    bytes_per_row: int,
) -> tuple[Tensor, Tensor]:
    """Output and lse with the rows `within` changed, some at a time; `changed` counts from the first of these rows.

    What was given is written over, which spares copies and keeps the kernel's layout, unless autograd needs it.
    """
    if not torch.is_grad_enabled():
        some, some_lse = select_rows(output, within, 2), select_rows(lse, within, 2)
        for rows in chunks(some.shape[2], bytes_per_row, output.device):
            some[:, :, rows], some_lse[:, :, rows] = changed(rows)
        return output, lse
    if within is None:
        return changed(slice(None))
    start, stop, _ = within.indices(output.shape[2])
    after = slice(max(start, stop), None)
    new, new_lse = changed(slice(None))
    return (
        torch.cat([output[:, :, :start], new, output[:, :, after]], dim=2),
        torch.cat([lse[:, :, :start], new_lse, lse[:, :, after]], dim=2),
    )


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
