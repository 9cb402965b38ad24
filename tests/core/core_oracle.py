"""The contract of the core written down a second time: dense float64 softmax, with nothing shared with the package."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary


def weight_table(key_length: int, index: Tensor, weight: Tensor, batch: int, rows: int) -> Tensor:
    """The weights of all keys, float64 `[batch, 1, rows, key]`, from `[J]`, `[batch, J]` or `[batch, rows, J]`."""
    full = torch.ones(batch, rows, key_length, dtype=torch.float64)
    weight = weight.double()
    for column, key in enumerate(index.tolist()):
        values = weight[..., column]
        full[:, :, key] = values[:, None] if values.ndim == 1 else values
    return full.unsqueeze(1)


def oracle(query, key, value, *, mask=None, is_causal=False, scale=None, weights=None):
    """Output and probabilities `[batch, head, query, key]` in float64; differentiable."""
    query, key, value = query.double(), key.double(), value.double()
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    logits = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask.double()
    if is_causal:
        logits = logits.masked_fill(~torch.ones(logits.shape[-2:], dtype=torch.bool).tril(), -math.inf)
    weights = torch.ones(1, 1, 1, key.shape[2], dtype=torch.float64) if weights is None else weights
    # Deleted keys must not decide the shift, or what is left underflows.
    top = logits.detach().masked_fill(weights.detach() == 0, -math.inf).amax(-1, keepdim=True)
    top = torch.where(top == -math.inf, torch.zeros_like(top), top)
    raised = torch.exp((logits - top).clamp(max=700))
    total = (weights.abs() * raised).sum(-1, keepdim=True)
    total = torch.where(total == 0, math.inf, total)
    return (weights * raised / total) @ value, weights.abs() * raised / total


def rule_oracle(rule, query, key, value, weights, *, mask=None, is_causal=False):
    """The same for the rules "values" and "scaling", which leave the normaliser to the unweighted exponentials."""
    query, key, value = query.double(), key.double(), value.double()
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    logits = logits * weights.abs() if rule == "scaling" else logits
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask.double()
    if is_causal:
        logits = logits.masked_fill(~torch.ones(logits.shape[-2:], dtype=torch.bool).tril(), -math.inf)
    probabilities = torch.softmax(logits, dim=-1).nan_to_num(0.0)
    return (probabilities * weights) @ value, probabilities


def largest_score(query, key, scale=None) -> float:
    group = query.shape[1] // key.shape[1]
    logits = query.double() @ key.double().repeat_interleave(group, 1).transpose(-1, -2)
    return float(logits.abs().max()) * (query.shape[-1] ** -0.5 if scale is None else abs(scale))


def score_error(dtype: torch.dtype, top: float) -> float:
    """The relative error of a probability: that of `e^s` in the working precision.

    The CPU kernel's exponential for half precision inputs is an approximation good to 6e-5 (measured over its lse).
    """
    exact = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps * (16 + 4 * top)
    return exact + (1.5e-4 if dtype in (torch.bfloat16, torch.float16) else 0)


def assert_output(got: Tensor, want: Tensor, value: Tensor, top: float) -> None:
    """Rounding of the result and of the kernel's probabilities, scaled by the largest value."""
    room = float(value.double().abs().max()) * (2 * torch.finfo(got.dtype).eps + score_error(got.dtype, top))
    torch.testing.assert_close(got.double(), want, rtol=0, atol=room)


def assert_columns(got: Tensor, want: Tensor, dtype: torch.dtype, top: float) -> None:
    """Relative, down to the smallest probability."""
    assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(got.double(), want, rtol=score_error(dtype, top), atol=1e-37)


class PeakMemory(TorchDispatchMode):
    """Bytes of tensor storage alive at once, beyond what lived before: `with PeakMemory() as m: ...; m.peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.live: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in torch.utils._pytree.tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                self.live[storage] = storage.nbytes()
        known = {id(s): n for s, n in self.live.items()}
        self.peak = max(self.peak, sum(known.values()))
        return result
