"""The scores `s_ij = scale * <q_i, k_j> + mask_ij`, in float32 whatever the model's dtype, for all keys or a few."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Scores", "column_logits", "matmul", "select_heads", "select_rows", "working_dtype"]


class Scores(NamedTuple):
    """Everything that defines the scores.

    query: `[batch, head, query, dim]`; key: `[batch, key head, key, dim]`, where `head` is a multiple of `key head`.
    mask: None, bool (True = visible) or float (added), broadcastable to `[batch, head, query, key]`, 2 or 4 dimensions.
    row_numbers: int64 `[query]`, for causality, when the query holds only some rows of a longer one; None means all.
    """

    query: Tensor
    key: Tensor
    mask: Tensor | None
    is_causal: bool
    scale: float
    row_numbers: Tensor | None = None

    def detach(self) -> Scores:
        return self._replace(
            query=self.query.detach(), key=self.key.detach(), mask=None if self.mask is None else self.mask.detach()
        )

    def rows(self, batch_rows: slice | Tensor | None, query_rows: slice | Tensor | None) -> Scores:
        """The same scores for some batch rows and some query rows."""
        query, key, mask, numbers = self.query, self.key, self.mask, self.row_numbers
        if query_rows is not None and self.is_causal:
            numbers = torch.arange(query.shape[2], device=query.device) if numbers is None else numbers
            numbers = select_rows(numbers, query_rows, 0)
        if mask is not None:
            mask = select_rows(mask, query_rows, mask.ndim - 2, broadcast=True)
            mask = select_rows(mask, batch_rows, 0, broadcast=True) if mask.ndim == 4 else mask
        query = select_rows(select_rows(query, batch_rows, 0), query_rows, 2)
        key = select_rows(key, batch_rows, 0)
        return self._replace(query=query, key=key, mask=mask, row_numbers=numbers)

    def heads(self, heads: tuple[int, ...]) -> Scores:
        """The same scores for some of the query's heads, with one key head for each."""
        group = self.query.shape[1] // self.key.shape[1]
        mask = self.mask
        if mask is not None and mask.ndim == 4 and mask.shape[1] > 1:
            mask = select_heads(mask, heads)
        return self._replace(
            query=select_heads(self.query, heads),
            key=select_heads(self.key, tuple(head // group for head in heads)),
            mask=mask,
        )


def working_dtype(tensor: Tensor) -> torch.dtype:
    """float64 for float64, float32 for everything else: bfloat16 logits are off by 3e-2 relative."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def column_logits(scores: Scores, index: Tensor | None) -> Tensor:
    """The scores of the keys `index` (int64 `[C]`; None for all): `[batch, head, query, C]`, -inf where hidden."""
    dtype = working_dtype(scores.query)
    key = scores.key if index is None else scores.key.index_select(2, index)
    query = scores.query
    group = query.shape[1] // key.shape[1]
    if group > 1:
        key = key.repeat_interleave(group, dim=1)
    fine = query.dtype != torch.bfloat16
    logits = matmul(query.to(dtype), key.to(dtype).transpose(-1, -2), fine=fine) * scores.scale
    if scores.mask is not None:
        mask = scores.mask if index is None or scores.mask.shape[-1] == 1 else scores.mask.index_select(-1, index)
        logits = logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask.to(dtype)
    if scores.is_causal:
        keys = torch.arange(scores.key.shape[2], device=query.device) if index is None else index
        rows = torch.arange(query.shape[2], device=query.device) if scores.row_numbers is None else scores.row_numbers
        logits = logits.masked_fill(keys[None, :] > rows[:, None], -math.inf)
    return logits


def matmul(left: Tensor, right: Tensor, *, fine: bool = True) -> Tensor:
    """A matrix product in true float32.

    `torch.set_float32_matmul_precision("high")` lets float32 products drop to TF32 or bfloat16, which the columns
    cannot bear. These products are thin, so they simply go through float64 then. `fine=False` says that the numbers
    came from bfloat16, which those formats hold exactly.
    """
    if fine and left.dtype == torch.float32 and _reduced_products():
        return (left.double() @ right.double()).float()
    return left @ right


# Dynamo cannot trace the setting's getter; it is read when tracing, as the products themselves would.
@torch._dynamo.assume_constant_result
def _reduced_products() -> bool:
    return torch.get_float32_matmul_precision() != "highest"


def select_rows(tensor: Tensor, rows: slice | Tensor | None, dim: int, *, broadcast: bool = False) -> Tensor:
    """Selects along `dim`; with `broadcast`, a dimension of size 1 stands for every row and stays."""
    if rows is None or (broadcast and tensor.shape[dim] == 1):
        return tensor
    if isinstance(rows, slice):
        return tensor[(slice(None),) * dim + (rows,)]
    return tensor.index_select(dim, rows)


def select_heads(tensor: Tensor, heads: tuple[int, ...]) -> Tensor:
    """`tensor[:, heads]`, as a view where the heads are consecutive."""
    if heads == tuple(range(heads[0], heads[0] + len(heads))):
        return tensor[:, heads[0] : heads[0] + len(heads)]
    return torch.stack([tensor[:, head] for head in heads], dim=1)
