"""The scores `s_ij = scale * <q_i, k_j> + mask_ij`, in float32 whatever the model's dtype, for all keys or a few."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from promptattn.core.tracing import constant_while_tracing

__all__ = ["Scores", "causal", "masked", "matmul", "select_heads", "select_rows", "working_dtype"]


class Scores(NamedTuple):
    """Everything that defines the scores.

    query: `[batch, head, query, dim]`; key: `[batch, key head, key, dim]`, where `head` is a multiple of `key head`.
    mask: None, bool (True = visible) or float (added), broadcastable to `[batch, head, query, key]`, 2 or 4 dimensions.
    visible: a rule that says from their numbers which keys a row sees, such as `causal`; None means all.
    row_numbers, key_numbers: int64, the numbers that the rule sees; None means 0, 1, 2 ...
    gain: what `scale * <q_i, k_j>` is multiplied by before the mask, `[batch or 1, 1, query or 1, key]`; None means 1.
    """

    query: Tensor
    key: Tensor
    mask: Tensor | None
    scale: float
    visible: Callable[[Tensor, Tensor], Tensor] | None = None
    row_numbers: Tensor | None = None
    key_numbers: Tensor | None = None
    gain: Tensor | None = None

    @property
    def is_causal(self) -> bool:
        return self.visible is causal

    def detach(self) -> Scores:
        mask, gain = (None if each is None else each.detach() for each in (self.mask, self.gain))
        return self._replace(query=self.query.detach(), key=self.key.detach(), mask=mask, gain=gain)

    def rows(self, rows: slice | Tensor | None) -> Scores:
        """The same scores for some query rows."""
        if rows is None:
            return self
        mask, numbers = self.mask, self.row_numbers
        if self.visible is not None:
            numbers = torch.arange(self.query.shape[2], device=self.query.device) if numbers is None else numbers
            numbers = select_rows(numbers, rows, 0)
        if mask is not None:
            mask = select_rows(mask, rows, mask.ndim - 2, broadcast=True)
        gain = None if self.gain is None else select_rows(self.gain, rows, 2, broadcast=True)
        return self._replace(query=select_rows(self.query, rows, 2), mask=mask, row_numbers=numbers, gain=gain)

    def batch(self, rows: slice | Tensor | None) -> Scores:
        """The same scores for some rows of the batch."""
        mask = self.mask
        if mask is not None and mask.ndim == 4:
            mask = select_rows(mask, rows, 0, broadcast=True)
        query, key = (select_rows(each, rows, 0) for each in (self.query, self.key))
        gain = None if self.gain is None else select_rows(self.gain, rows, 0, broadcast=True)
        return self._replace(query=query, key=key, mask=mask, gain=gain)

    def keys(self, index: Tensor) -> Scores:
        """The same scores for the keys `index`, int64 `[C]`."""
        mask, numbers = self.mask, index if self.key_numbers is None else self.key_numbers[index]
        if mask is not None and mask.shape[-1] != 1:
            mask = mask.index_select(-1, index)
        gain = None if self.gain is None else self.gain.index_select(-1, index)
        return self._replace(key=self.key.index_select(2, index), mask=mask, key_numbers=numbers, gain=gain)

    def heads(self, heads: tuple[int, ...]) -> Scores:
        """The same scores for some of the query's heads, with one key head for each."""
        group = self.query.shape[1] // self.key.shape[1]
        mask = self.mask
        if mask is not None and mask.ndim == 4 and mask.shape[1] > 1:
            mask = select_heads(mask, heads)
        key = select_heads(self.key, tuple(head // group for head in heads))
        return self._replace(query=select_heads(self.query, heads), key=key, mask=mask)

    def logits(self) -> Tensor:
        """`s_ij` as `[batch, head, query, key]`, float32 (float64 for float64 inputs), -inf where a key is hidden."""
        query, dtype = self.query, working_dtype(self.query)
        group = query.shape[1] // self.key.shape[1]
        key = self.key if group == 1 else self.key.repeat_interleave(group, dim=1)
        fine = query.dtype != torch.bfloat16
        # Scaled after the product, as the kernels do it, so that both round alike: `baddbmm`, which could scale and
        # subtract on the way, scales an operand, and probabilities were 6 times as far off at a head dimension of 40.
        logits = matmul(query.to(dtype), key.to(dtype).transpose(-1, -2), fine=fine).mul_(self.scale)
        if self.gain is not None:
            logits = logits * self.gain
        if self.mask is not None:
            logits = masked(logits, self.mask)
        if self.visible is not None:
            rows, keys = self.row_numbers, self.key_numbers
            rows = torch.arange(query.shape[2], device=query.device) if rows is None else rows
            keys = torch.arange(key.shape[2], device=query.device) if keys is None else keys
            logits = logits.masked_fill(~self.visible(rows[:, None], keys[None, :]), -math.inf)
        return logits


def masked(logits: Tensor, mask: Tensor) -> Tensor:
    """The logits under a mask: bool hides where it is False, float is added."""
    return logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask.to(logits.dtype)


def causal(rows: Tensor, keys: Tensor) -> Tensor:
    """Row i sees the keys 0 to i, counted from the top left as `F.scaled_dot_product_attention` does."""
    return keys <= rows


def working_dtype(tensor: Tensor) -> torch.dtype:
    """float64 for float64, float32 for everything else: bfloat16 logits are off by 3e-2 relative."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def matmul(left: Tensor, right: Tensor, *, fine: bool = True) -> Tensor:
    """A matrix product in true float32.

    `torch.set_float32_matmul_precision("high")` lets float32 products drop to TF32 or bfloat16, which the columns
    cannot bear. These products are thin, so they simply go through float64 then. `fine=False` says that the numbers
    came from bfloat16, which those formats hold exactly.
    """
    if fine and left.dtype == torch.float32 and _reduced_products():
        return (left.double() @ right.double()).float()
    return left @ right


@constant_while_tracing
def _reduced_products() -> bool:
    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:
        # So torch answers where the newer settings (`torch.backends.cuda.matmul.fp32_precision`) are in use.
        return True


def select_rows(tensor: Tensor, rows: slice | Tensor | None, dim: int, *, broadcast: bool = False) -> Tensor:
    """Selects along `dim`; with `broadcast`, a dimension of size 1 stands for every row and stays."""
    if rows is None or (broadcast and tensor.shape[dim] == 1):
        return tensor
    if isinstance(rows, slice):
        return tensor[(slice(None),) * dim + (rows,)]
    return tensor.index_select(dim, rows)


def select_heads(tensor: Tensor, heads: tuple[int, ...]) -> Tensor:
    """`tensor[:, heads]`, as a view where the heads are consecutive, and the very tensor where they are all."""
    if heads == tuple(range(heads[0], heads[0] + len(heads))):
        every = len(heads) == tensor.shape[1]
        return tensor if every else tensor[:, heads[0] : heads[0] + len(heads)]
    return torch.stack([tensor[:, head] for head in heads], dim=1)
