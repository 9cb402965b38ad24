"""The one entry: scaled dot product attention that can weigh chosen keys exactly and keep chosen columns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from promptattn.core.columns import Columns, columns_from_lse
from promptattn.core.explain import Explanation, choose
from promptattn.core.explicit import dense_attention, dense_columns
from promptattn.core.kernels import KERNELS, Kernel, ready, run_with_lse
from promptattn.core.logits import Scores, causal
from promptattn.core.merge import correct, merge
from promptattn.core.weights import KeyWeights
from promptattn.errors import CaptureError, WeightingError

__all__ = ["AttentionResult", "Capture", "attention", "explain_kernel"]

Capture = Columns | Sequence[Columns] | None


class AttentionResult(NamedTuple):
    """output: as `F.scaled_dot_product_attention` gives it, `[batch, head, query, dim]` in the input's dtype.

    columns: the captured part of the attention after weighting, float32 (float64 for float64 inputs), values in [0, 1]:
        `[rows, query, C or G]` for the mean over heads, `[rows, head, query, C or G]` for none; None without capture.
        A tuple of such tensors, in their order, where several captures were asked for.
    """

    output: Tensor
    columns: Any


class _Call(NamedTuple):
    """The arguments twice: as given, for the library's own call, and as four-dimensional scores and values."""

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    is_causal: bool
    scale: float | None
    gqa: bool
    dropout_p: float
    scores: Scores
    full_value: Tensor
    weights: KeyWeights | None
    captures: tuple[Columns, ...]
    several: bool
    given: Kernel | None

    def library(self) -> Tensor:
        return scaled_dot_product_attention(
            self.query, self.key, self.value, attn_mask=self.mask, dropout_p=self.dropout_p, is_causal=self.is_causal,
            scale=self.scale, enable_gqa=self.gqa,
        )  # fmt: skip

    def explain(self) -> Explanation:
        return choose(
            self.query, self.key, self.value, self.mask, self.is_causal, self.scale, self.gqa,
            self.scores, self.full_value, self.weights, bool(self.captures), self.dropout_p, self.given,
        )  # fmt: skip


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    key_weights: KeyWeights | None = None,
    capture: Capture = None,
    dropout_p: float = 0.0,
    kernel: Kernel | None = None,
) -> AttentionResult:
    """Attention `o_i = sum_j sign(w_ij) p_ij v_j` with `p_ij = |w_ij| e^{s_ij} / sum_j' |w_ij'| e^{s_ij'}`.

    So by the rule of odds; :class:`KeyWeights` has the other rules. The scores are
    `s_ij = scale * <q_i, k_j> + mask_ij` (Vaswani et al. 2017, equation 1, for weights of 1).

    query `[batch, head, query, dim]`, key `[batch, head, key, dim]`, value `[batch, head, key, value dim]`; also
    three-dimensional `[batch, row, dim]`, which counts as a batch of single heads. `mask`, `is_causal`, `scale`,
    `enable_gqa` and `dropout_p` mean what they mean to `F.scaled_dot_product_attention`.

    key_weights: which keys to weigh; None, or weights that the host knows to be 1, leave the output bit-identical to
        `F.scaled_dot_product_attention` on the same tensors, with and without capture.
    capture: which columns of the attention to keep, after weighting and before dropout; several of them share one
        pass over the queries and keys.
    kernel: what to run in the place of the fused kernel that SDPA would choose: without a mask, causality, dropout and
        gradients only, on four-dimensional tensors. Its output is the result's where nothing is weighed.

    A row that sees no key, or whose every visible key has odds 0, gives output 0 and columns 0; `dead_rows` names such
    rows. Under autocast the inputs are cast as the library casts them, and the columns stay float32.
    Nothing here waits for the device. Nothing of size query x key is built unless the keys are few (`explain_kernel`).

    Raises WeightingError and CaptureError for weights and columns that do not fit these tensors, ValueError for tensors
    that do not fit each other.
    """
    if (key_weights is None or not key_weights.acts) and not _captures(capture):
        output = scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout_p, is_causal=is_causal, scale=scale,
            enable_gqa=enable_gqa,
        )  # fmt: skip
        return AttentionResult(output, None)
    call = partial(
        _call, is_causal=is_causal, scale=scale, gqa=enable_gqa, weights=key_weights, capture=capture,
        dropout_p=dropout_p, given=kernel,
    )  # fmt: skip
    dtype = _autocast_dtype(query.device)
    if dtype is not None:
        # Autocast casts the library's call, but not the fused operators, and must not cast the columns' logits.
        query, key, value = (_autocast(tensor, dtype) for tensor in (query, key, value))
        mask = None if mask is None else _autocast(mask, dtype)
        with torch.autocast(query.device.type, enabled=False):
            return _run(call(query, key, value, mask))
    return _run(call(query, key, value, mask))


def explain_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    key_weights: KeyWeights | None = None,
    capture: Capture = None,
    dropout_p: float = 0.0,
) -> Explanation:
    """The path that `attention` takes for the same arguments; nothing is computed."""
    dtype = _autocast_dtype(query.device)
    if dtype is not None:
        query, key, value = (_autocast(tensor, dtype) for tensor in (query, key, value))
        mask = None if mask is None else _autocast(mask, dtype)
    return _call(query, key, value, mask, is_causal, scale, enable_gqa, key_weights, capture, dropout_p).explain()


def _run(call: _Call) -> AttentionResult:
    chosen = call.explain()
    scores, value, weights, captures = call.scores, call.full_value, call.weights, call.captures
    if chosen.path == "dense":
        output, columns = dense_attention(scores, value, weights, captures, call.dropout_p)
        return _result(call, _as_given(output, call), columns)
    if chosen.path == "sdpa+dense":
        return _result(call, call.library(), dense_columns(scores, captures))
    kernel = call.given or KERNELS[chosen.kernel]
    if chosen.path == "fused+lse":
        output, lse = run_with_lse(kernel, call.query, call.key, call.value, call.mask, call.is_causal, call.scale)
    elif chosen.path == "sdpa+lse":
        output = call.library()
        _, lse = run_with_lse(
            kernel, *ready(scores.query, scores.key, value), scores.mask, scores.is_causal, scores.scale
        )
    else:
        assert weights is not None
        output, lse = (merge if chosen.path == "merge" else correct)(kernel, scores, value, weights)
        output = _as_given(output, call)
    return _result(call, output, tuple(columns_from_lse(scores, lse, capture, weights) for capture in captures))


def _result(call: _Call, output: Tensor, columns: tuple[Tensor, ...]) -> AttentionResult:
    if call.several:
        return AttentionResult(output, columns)
    return AttentionResult(output, columns[0] if columns else None)


def _captures(capture: Capture) -> tuple[Columns, ...]:
    if capture is None:
        return ()
    return (capture,) if isinstance(capture, Columns) else tuple(capture)


def _call(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None, gqa: bool,
    weights: KeyWeights | None, capture: Capture, dropout_p: float, given: Kernel | None = None,
) -> _Call:  # fmt: skip
    if is_causal and mask is not None:
        raise ValueError("give a mask or is_causal, not both: write the causality into the mask")
    if query.ndim not in (3, 4) or key.ndim != query.ndim or value.ndim != query.ndim:
        raise ValueError(
            "query, key and value must all be [batch, head, row, dim] or all [batch, row, dim]; "
            f"got {list(query.shape)}, {list(key.shape)} and {list(value.shape)}"
        )
    q, k, v, m = query, key, value, mask
    if query.ndim == 3:
        q, k, v = q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1)
        m = m.unsqueeze(1) if m is not None and m.ndim == 3 else m
    q, k, v = _broadcast(q, k, v, gqa)
    if m is not None and m.ndim not in (2, 3, 4):
        raise ValueError(f"the mask must have 2 to 4 dimensions, the last two [query, key]; got {list(m.shape)}")
    m = m.unsqueeze(0) if m is not None and m.ndim == 3 else m
    scores = Scores(q, k, m, query.shape[-1] ** -0.5 if scale is None else scale, causal if is_causal else None)
    weights = weights if weights is not None and weights.acts else None
    captures, several = _captures(capture), not (capture is None or isinstance(capture, Columns))
    _check(scores, weights, captures)
    return _Call(
        query, key, value, mask, is_causal, scale, gqa, dropout_p, scores, v, weights, captures, several, given
    )


def _broadcast(query: Tensor, key: Tensor, value: Tensor, gqa: bool) -> tuple[Tensor, Tensor, Tensor]:
    """One batch size for all three, and key heads that divide the query's."""
    batch = _common(query.shape[0], key.shape[0], value.shape[0])
    heads = query.shape[1]
    if not gqa:
        heads = _common(query.shape[1], key.shape[1], value.shape[1])
        key, value = key.expand(-1, heads, -1, -1), value.expand(-1, heads, -1, -1)
    if key.shape[1] != value.shape[1] or heads % key.shape[1] or key.shape[2] != value.shape[2]:
        raise ValueError(
            "key and value need the same heads and rows, and query heads that are a multiple of theirs; got "
            f"query {list(query.shape)}, key {list(key.shape)}, value {list(value.shape)}"
        )
    query = query.expand(batch, heads, -1, -1)
    return query, key.expand(batch, -1, -1, -1), value.expand(batch, -1, -1, -1)


def _common(first: int, *others: int) -> int:
    """The size that these broadcast to. Asking torch takes a sixth of the whole call's time when tensors are small."""
    if all(other == first for other in others):
        return first
    return torch.broadcast_shapes((first,), *((other,) for other in others))[0]


def _check(scores: Scores, weights: KeyWeights | None, captures: tuple[Columns, ...]) -> None:
    batch, length = scores.query.shape[0], scores.key.shape[2]
    if weights is not None:
        if weights.weight.ndim > 1 and weights.weight.shape[0] not in (1, batch):
            raise WeightingError(f"weights for {weights.weight.shape[0]} batch rows meet an attention with {batch}")
        if weights.index.shape[0] > length:
            raise WeightingError(f"{weights.index.shape[0]} keys are to be weighed, but there are only {length}")
    if any(capture.into is not None and capture.into.requires_grad for capture in captures):
        raise CaptureError("the buffer `into` must not require gradients: it is added to in place")


def _autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The dtype that autocast is casting to on this device, or None."""
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return None
    return torch.get_autocast_dtype(device.type)


def _autocast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor as autocast's lower-precision list casts it: floating point, but not float64."""
    return tensor.to(dtype) if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor


def _as_given(output: Tensor, call: _Call) -> Tensor:
    return output.squeeze(1) if call.query.ndim == 3 else output
