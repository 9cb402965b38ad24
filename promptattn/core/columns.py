"""What to watch: the attention that chosen keys receive, as columns of the weighted softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from promptattn.core.chunks import chunks
from promptattn.core.logits import Scores, matmul, select_heads, select_rows, working_dtype
from promptattn.core.softmax import mass
from promptattn.core.weights import KeyWeights
from promptattn.errors import CaptureError

__all__ = ["Columns", "columns_from_lse", "deliver_columns", "select_columns"]


@dataclass(frozen=True)
class Columns:
    """Which columns of the attention to keep.

    index: int64 `[C]`, the keys to watch.
    groups: int64 `[C]` or `[rows, C]`: columns with the same number are summed into that one column; -1 drops a column.
    n_groups: how many group columns there are. Read from `groups` when left out, which waits for the device: give it
        when building this inside a compiled or asynchronous loop.
    heads: the heads to average or keep; None means all.
    batch_rows, query_rows: the rows to keep (a slice or an int64 tensor); None means all.
    reduce: "mean" over heads, or "none".
    into: a float32 buffer of the result's shape that the columns are added to in place, without gradient.
    """

    index: Tensor
    groups: Tensor | None = None
    n_groups: int | None = None
    heads: tuple[int, ...] | None = None
    batch_rows: slice | Tensor | None = None
    query_rows: slice | Tensor | None = None
    reduce: Literal["mean", "none"] = "mean"
    into: Tensor | None = None

    def __post_init__(self) -> None:
        if self.index.ndim != 1:
            raise CaptureError(f"columns need an index of shape [C]; got {list(self.index.shape)}")
        if self.reduce not in ("mean", "none"):
            raise CaptureError(f'reduce must be "mean" or "none"; got {self.reduce!r}')
        if self.heads is not None and not self.heads:
            raise CaptureError("heads is empty: name at least one head, or pass None for all")
        if self.groups is None:
            return
        if self.groups.shape[-1] != self.index.shape[0] or self.groups.ndim not in (1, 2):
            raise CaptureError(
                f"groups for {self.index.shape[0]} columns must have shape [C] or [rows, C]; "
                f"got {list(self.groups.shape)}"
            )
        if self.n_groups is None:
            # Frozen only for its users: here the dataclass is still being built.
            object.__setattr__(self, "n_groups", int(self.groups.max()) + 1)


def columns_from_lse(scores: Scores, lse: Tensor, capture: Columns, weights: KeyWeights | None = None) -> Tensor:
    """Columns of the softmax from its normaliser: `P_ic = |w_ic| exp(s_ic - lse_i)`, without |w| where it counts not.

    lse: float32 `[batch, head, query]`, the log of the normaliser (see `KeyWeights`); +inf in rows that see no key.
    Returns float32 `[rows, query, C or G]` ("mean") or `[rows, head, query, C or G]` ("none"), values in [0, 1];
    float64 for float64 inputs. With `into` that buffer is returned.
    """
    if capture.into is not None and torch.is_grad_enabled():
        with torch.no_grad():
            return _columns_from_lse(scores.detach(), lse.detach(), capture, weights)
    return _columns_from_lse(scores, lse, capture, weights)


def _columns_from_lse(scores: Scores, lse: Tensor, capture: Columns, weights: KeyWeights | None) -> Tensor:
    weight = None if weights is None else _captured_weight(scores, capture, weights)
    scores = scores.batch(capture.batch_rows).keys(capture.index).rows(capture.query_rows)
    lse = select_rows(select_rows(lse, capture.batch_rows, 0), capture.query_rows, 2)
    if weights is not None and weight is not None:
        scores = scores._replace(gain=weights.gain(weight))
        weight = weight if weights.counts else None
    heads = _heads(capture, scores.query.shape[1])
    parts = (
        mass(scores.heads(heads[some]).logits(), select_heads(lse, heads[some]), weight)
        for some in chunks(len(heads), _bytes_per_head(scores), lse.device)
    )
    if capture.reduce == "none":
        return _deliver(torch.cat(list(parts), dim=1), capture)
    total = next(parts).sum(dim=1)
    for part in parts:
        total += part.sum(dim=1)
    return _deliver(total.div_(len(heads)), capture)


def select_columns(probabilities: Tensor, capture: Columns) -> Tensor:
    """The chosen columns and heads of explicit probabilities `[batch, head, query, key]`, for all the rows given."""
    if capture.into is not None:
        probabilities = probabilities.detach()
    heads = _heads(capture, probabilities.shape[1])
    kept = select_rows(probabilities, capture.batch_rows, 0).index_select(-1, capture.index)
    kept = select_heads(kept, heads)
    return kept.mean(dim=1) if capture.reduce == "mean" else kept


def deliver_columns(columns: Tensor, capture: Columns) -> Tensor:
    """Picks the query rows of `select_columns`' result, sums groups, and adds to the buffer if there is one."""
    return _deliver(select_rows(columns, capture.query_rows, columns.ndim - 2), capture)


def _captured_weight(scores: Scores, capture: Columns, weights: KeyWeights) -> Tensor:
    """The weights of the captured keys in the captured rows, `[rows or 1, 1, query or 1, C]`."""
    weight = weights.at(capture.index, weights.expand(scores.query.shape[2], working_dtype(scores.query)))
    weight = select_rows(weight, capture.batch_rows, 0, broadcast=True)
    return select_rows(weight, capture.query_rows, 2, broadcast=True)


def _deliver(columns: Tensor, capture: Columns) -> Tensor:
    columns = _group(columns, capture)
    if capture.into is None:
        return columns
    if capture.into.shape != columns.shape:
        raise CaptureError(
            f"the buffer `into` has shape {list(capture.into.shape)}, but these columns have {list(columns.shape)}"
        )
    return capture.into.add_(columns)


def _group(columns: Tensor, capture: Columns) -> Tensor:
    """Sums columns `[rows, (head,) query, C]` into their groups."""
    if capture.groups is None or capture.n_groups is None:
        return columns
    groups = capture.groups
    if groups.ndim == 2 and groups.shape[0] != columns.shape[0]:
        groups = select_rows(groups, capture.batch_rows, 0)
    numbers = torch.arange(capture.n_groups, device=groups.device)
    member = (groups[..., None] == numbers).to(columns.dtype)
    if member.ndim == 3 and columns.ndim == 4:
        member = member.unsqueeze(1)
    return matmul(columns, member)


def _heads(capture: Columns, available: int) -> tuple[int, ...]:
    heads = tuple(range(available)) if capture.heads is None else capture.heads
    if min(heads) < 0 or max(heads) >= available:
        raise CaptureError(f"heads {list(heads)} were asked for, but this attention has heads 0 to {available - 1}")
    return heads


def _bytes_per_head(scores: Scores) -> int:
    """The float32 queries and columns of one head."""
    batch, _, query, dim = scores.query.shape
    return 4 * batch * query * (dim + scores.key.shape[2])
