"""Attention from explicit logits, a block of query rows at a time.

For short keys, for scores that are no dot product, and where no fused kernel serves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import dropout

from promptattn.core.chunks import chunks
from promptattn.core.columns import Columns, deliver_columns, select_columns
from promptattn.core.logits import Scores, select_rows, working_dtype
from promptattn.core.softmax import weigh
from promptattn.core.weights import KeyWeights

__all__ = ["attend_explicitly", "dense_attention", "dense_columns"]


def attend_explicitly(
    logits_of: Callable[[slice], Tensor],
    value: Tensor,
    *,
    length: int,
    bytes_per_row: int,
    weights: KeyWeights | None = None,
    captures: Sequence[Columns] = (),
    dropout_p: float = 0.0,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Weigh, sum and watch, given the logits of any slice of the `length` query rows.

    logits_of: returns `[batch, head, rows, key]` in float32 or float64, -inf where a key is hidden.
    value: `[batch, head, key, dim]` in the same dtype.
    Returns the output `[batch, head, query, dim]` in that dtype, and the columns of every capture.
    """
    weight = None if weights is None else _full_weight(weights, length, value)
    outputs: list[Tensor] = []
    columns: list[list[Tensor]] = [[] for _ in captures]
    for rows in chunks(length, bytes_per_row, value.device):
        w = None if weight is None else select_rows(weight, rows, 2, broadcast=True)
        part = weigh(logits_of(rows), w, counts=weights is None or weights.counts)
        outputs.append((dropout(part.signed, dropout_p) if dropout_p else part.signed) @ value)
        for parts, capture in zip(columns, captures, strict=True):
            parts.append(select_columns(part.mass, capture))
    return torch.cat(outputs, dim=2), _delivered(columns, captures)


def dense_attention(
    scores: Scores, value: Tensor, weights: KeyWeights | None, captures: Sequence[Columns], dropout_p: float = 0.0
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Scaled dot product attention from explicit logits; the output comes in the query's dtype."""
    query = scores.query
    value = value.to(working_dtype(query)).repeat_interleave(query.shape[1] // value.shape[1], dim=1)
    if weights is not None:
        scores = scores._replace(gain=weights.gain(_full_weight(weights, query.shape[2], value)))
    output, columns = attend_explicitly(
        lambda rows: scores.rows(rows).logits(),
        value,
        length=query.shape[2],
        bytes_per_row=_bytes_per_row(scores),
        weights=weights,
        captures=captures,
        dropout_p=dropout_p,
    )
    return output.to(query.dtype), columns


def dense_columns(scores: Scores, captures: Sequence[Columns]) -> tuple[Tensor, ...]:
    """The captured columns of the unweighted attention, without its output."""
    columns: list[list[Tensor]] = [[] for _ in captures]
    for rows in chunks(scores.query.shape[2], _bytes_per_row(scores), scores.query.device):
        mass = weigh(scores.rows(rows).logits()).mass
        for parts, capture in zip(columns, captures, strict=True):
            parts.append(select_columns(mass, capture))
    return _delivered(columns, captures)


def _delivered(columns: list[list[Tensor]], captures: Sequence[Columns]) -> tuple[Tensor, ...]:
    return tuple(
        deliver_columns(torch.cat(parts, dim=-2), capture) for parts, capture in zip(columns, captures, strict=True)
    )


def _full_weight(weights: KeyWeights, length: int, value: Tensor) -> Tensor:
    """The weights of all keys, `[batch or 1, 1, query or 1, key]`."""
    few = weights.expand(length, value.dtype)
    return few.new_ones(*few.shape[:-1], value.shape[2]).index_copy(-1, weights.index, few)


def _bytes_per_row(scores: Scores) -> int:
    # Logits, their exponentials and the probabilities are alive at once.
    return 3 * 4 * scores.query.shape[0] * scores.query.shape[1] * scores.key.shape[2]
