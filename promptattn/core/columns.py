"""What to watch: the attention that chosen keys receive, as columns of the weighted softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from promptattn.core.logits import Scores, column_logits, matmul, select_heads, select_rows, working_dtype
from promptattn.core.softmax import mass
from promptattn.core.weights import KeyWeights
from promptattn.errors import CaptureError

__all__ = ["Columns", "columns_from_lse", "columns_from_mass"]

# Heads are taken in groups whose working set stays about this large: it bounds the memory and fits the caches.
_CHUNK_BYTES = 16 * 2**20


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
                f"groups for {self.index.shape[0]} columns must have shape [C] or [rows, C]; got {list(self.groups.shape)}"
            )
        if self.n_groups is None:
            # Frozen only for its users: here the dataclass is still being built.
            object.__setattr__(self, "n_groups", int(self.groups.max()) + 1)


def columns_from_lse(scores: Scores, lse: Tensor, capture: Columns, weights: KeyWeights | None = None) -> Tensor:
    """Columns of the softmax from its normaliser: `P_ic = |w_ic| exp(s_ic - lse_i)`.

    lse: float32 `[batch, head, query]`, the log of the sum over all keys of `|w| e^s`; `+inf` in rows that see no key.
    Returns float32 `[rows, query, C or G]` ("mean") or `[rows, head, query, C or G]` ("none"), values in [0, 1]; float64
    for float64 inputs. With `into` that buffer is returned.
    """
    if capture.into is not None:
        with torch.no_grad():
            return _columns_from_lse(scores.detach(), lse.detach(), capture, weights)
    return _columns_from_lse(scores, lse, capture, weights)


def _columns_from_lse(scores: Scores, lse: Tensor, capture: Columns, weights: KeyWeights | None) -> Tensor:
    weight = None
    if weights is not None:
        weight = weights.at(capture.index, weights.expand(scores.query.shape[2], working_dtype(scores.query)))
        weight = select_rows(
            select_rows(weight, capture.batch_rows, 0, broadcast=True), capture.query_rows, 2, broadcast=True
        )
    scores = scores.rows(capture.batch_rows, capture.query_rows)
    lse = select_rows(select_rows(lse, capture.batch_rows, 0), capture.query_rows, 2)
    heads = capture.heads if capture.heads is not None else tuple(range(scores.query.shape[1]))
    _check_heads(heads, scores.query.shape[1])
    step = len(heads) if torch.is_grad_enabled() else _heads_at_once(scores, capture)

    def some(chosen: tuple[int, ...]) -> Tensor:
        logits = column_logits(scores.heads(chosen), capture.index)
        return mass(logits, select_heads(lse, chosen), weight)

    chunks = [heads[start : start + step] for start in range(0, len(heads), step)]
    if capture.reduce == "none":
        result = torch.cat([some(chunk) for chunk in chunks], dim=1) if len(chunks) > 1 else some(chunks[0])
    else:
        result = some(chunks[0]).sum(dim=1)
        for chunk in chunks[1:]:
            result = result + some(chunk).sum(dim=1)
        result = result / len(heads)
    return _deliver(_group(result, capture), capture)


def columns_from_mass(probabilities: Tensor, capture: Columns) -> Tensor:
    """Columns out of an explicit attention matrix `[batch, head, query, key]` (already weighted): select, mean, group."""
    if capture.into is not None:
        probabilities = probabilities.detach()
    kept = select_rows(select_rows(probabilities, capture.batch_rows, 0), capture.query_rows, 2)
    kept = kept.index_select(-1, capture.index)
    if capture.heads is not None:
        _check_heads(capture.heads, kept.shape[1])
        kept = select_heads(kept, capture.heads)
    if capture.reduce == "mean":
        kept = kept.mean(dim=1)
    return _deliver(_group(kept, capture), capture)


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


def _deliver(columns: Tensor, capture: Columns) -> Tensor:
    if capture.into is None:
        return columns
    if capture.into.shape != columns.shape:
        raise CaptureError(
            f"the buffer `into` has shape {list(capture.into.shape)}, but these columns have {list(columns.shape)}"
        )
    return capture.into.add_(columns)


def _heads_at_once(scores: Scores, capture: Columns) -> int:
    """How many heads' float32 queries and columns fit the chunk."""
    batch, _, query, dim = scores.query.shape
    per_head = 4 * batch * query * (dim + 2 * capture.index.shape[0])
    return max(1, _CHUNK_BYTES // max(per_head, 1))


def _check_heads(heads: tuple[int, ...], available: int) -> None:
    if min(heads) < 0 or max(heads) >= available:
        raise CaptureError(f"heads {list(heads)} were asked for, but this attention has heads 0 to {available - 1}")
