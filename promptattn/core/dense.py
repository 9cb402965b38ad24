"""Attention from explicit logits, a block of query rows at a time: for short keys, and where no fused kernel serves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import dropout

from promptattn.core.columns import Columns, columns_from_lse, columns_from_mass
from promptattn.core.logits import Scores, column_logits, working_dtype
from promptattn.core.rows import row_chunks
from promptattn.core.softmax import weigh
from promptattn.core.weights import KeyWeights

__all__ = ["dense_attention", "dense_columns"]


def dense_attention(
    scores: Scores, value: Tensor, weights: KeyWeights | None, capture: Columns | None, dropout_p: float = 0.0
) -> tuple[Tensor, Tensor | None]:
    """Output `[batch, head, query, dim]` in the query's dtype, and the captured columns."""
    dtype = working_dtype(scores.query)
    value = value.to(dtype).repeat_interleave(scores.query.shape[1] // value.shape[1], dim=1)
    weight = _full_weight(scores, weights)
    outputs, normalisers, columns = [], [], None
    chunks = list(row_chunks(0, scores.query.shape[2], _bytes_per_row(scores)))
    for rows in chunks:
        part = weigh(column_logits(scores.rows(None, rows), None), _rows_of(weight, rows))
        signed = dropout(part.signed, dropout_p) if dropout_p else part.signed
        outputs.append((signed @ value).to(scores.query.dtype))
        normalisers.append(part.lse)
        if capture is not None and len(chunks) == 1:
            columns = columns_from_mass(part.mass, capture)
    if capture is not None and columns is None:
        columns = columns_from_lse(scores, torch.cat(normalisers, dim=2), capture, weights)
    return torch.cat(outputs, dim=2), columns


def dense_columns(scores: Scores, capture: Columns) -> Tensor:
    """The captured columns of the unweighted attention, without its output."""
    chunks = list(row_chunks(0, scores.query.shape[2], _bytes_per_row(scores)))
    if len(chunks) == 1:
        return columns_from_mass(weigh(column_logits(scores, None)).mass, capture)
    lse = torch.cat([weigh(column_logits(scores.rows(None, rows), None)).lse for rows in chunks], dim=2)
    return columns_from_lse(scores, lse, capture)


def _full_weight(scores: Scores, weights: KeyWeights | None) -> Tensor | None:
    """The weights of all keys, `[batch or 1, 1, query or 1, key]`."""
    if weights is None:
        return None
    few = weights.expand(scores.query.shape[2], working_dtype(scores.query))
    full = few.new_ones(*few.shape[:-1], scores.key.shape[2])
    return full.index_copy(-1, weights.index, few)


def _rows_of(weight: Tensor | None, rows: slice) -> Tensor | None:
    return weight if weight is None or weight.shape[2] == 1 else weight[:, :, rows]


def _bytes_per_row(scores: Scores) -> int:
    # Logits, their exponentials and the probabilities are alive at once.
    return 3 * 4 * scores.query.shape[0] * scores.query.shape[1] * scores.key.shape[2]
