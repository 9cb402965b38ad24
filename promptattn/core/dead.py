"""Rows that attend to nothing, named on request: `attention` gives them output 0 without a word."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from promptattn.core.weights import KeyWeights

__all__ = ["dead_rows"]


def dead_rows(
    query: Tensor,
    key: Tensor,
    *,
    mask: Tensor | None = None,
    is_causal: bool = False,
    key_weights: KeyWeights | None = None,
) -> Tensor:
    """Which query rows see no key, or only keys whose odds are 0: bool `[batch or 1, head or 1, query]`.

    Takes the same arguments as `attention`. Such a row has output 0 and columns 0. The result is on the query's device,
    and nothing is read back to the host: call `.any()` on it where waiting for the device is cheap.
    """
    length, keys = query.shape[-2], key.shape[-2]
    if mask is not None and mask.ndim == 3 and query.ndim == 3:
        mask = mask.unsqueeze(1)
    everything = torch.arange(keys, device=query.device)
    if key_weights is None or not key_weights.acts or not key_weights.counts:
        return ~_sees_any(everything, None, mask, is_causal, length)
    others = torch.ones(keys, dtype=torch.bool, device=query.device).index_fill_(0, key_weights.index, False)
    present = key_weights.expand(length) != 0
    weighted = _shown(key_weights.index, mask, is_causal, length) & present
    return ~(_sees_any(everything, others, mask, is_causal, length) | weighted.any(dim=-1))


def _sees_any(keys: Tensor, among: Tensor | None, mask: Tensor | None, is_causal: bool, length: int) -> Tensor:
    """Which rows see any of the keys, or any of those `among` them: bool `[batch or 1, head or 1, query]`."""
    if mask is not None:
        shown = _shown(keys, mask, False, length)
        return (shown if among is None else shown & among).any(dim=-1)
    # Causal rows see some key from the first one on, so the query x key table need not be built.
    first = keys.new_zeros(()) if among is None else torch.where(among, keys, max(length, keys.shape[0])).min()
    rows = torch.arange(length, device=keys.device) if is_causal else first.new_full((length,), keys.shape[0] - 1)
    return (rows >= first)[None, None]


def _shown(keys: Tensor, mask: Tensor | None, is_causal: bool, length: int) -> Tensor:
    """Which of the keys, int64 `[C]`, each row sees: bool `[batch or 1, head or 1, query, C]`."""
    if mask is not None:
        shown = mask if mask.dtype == torch.bool else mask != -math.inf
        shown = shown[(None,) * (4 - shown.ndim)]
        shown = shown if shown.shape[-1] == 1 else shown.index_select(-1, keys)
        return shown.expand(*shown.shape[:2], length, keys.shape[0])
    rows = torch.arange(length, device=keys.device)
    return ((keys <= rows[:, None]) if is_causal else keys.new_ones(length, keys.shape[0], dtype=torch.bool))[
        None, None
    ]
