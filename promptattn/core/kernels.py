"""The fused kernels that return the log-sum-exp beside the output, and the one that SDPA would choose.

The CPU kernel is run by this project's tests. The CUDA entries follow the operators' signatures and the way
`F.scaled_dot_product_attention` itself prepares their inputs; they have been checked by signature only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend
from torch.nn.functional import pad

from promptattn.core.tracing import constant_while_tracing

__all__ = ["KERNELS", "Kernel", "additive_mask", "chosen_by_sdpa", "hidden_rows", "ready", "run_with_lse"]

_aten: Any = torch.ops.aten


@dataclass(frozen=True)
class Kernel:
    """A fused attention operator.

    forward(query, key, value, bias, is_causal, scale) -> (output, lse, extras for the backward); output and lse share
        no memory with what was given, for weighted keys are merged into them in their place.
    backward(grad, query, key, value, bias, output, lse, extras, is_causal, scale) -> (dquery, dkey, dvalue)
    head_multiple: the head dimension is zero-padded to a multiple of this.
    head_limit: the largest head dimension it takes.
    """

    name: str
    device: str
    backend: SDPBackend
    forward: Callable[..., tuple[Tensor, Tensor, tuple[Any, ...]]]
    backward: Callable[..., tuple[Tensor, Tensor, Tensor]]
    takes_mask: bool = True
    head_multiple: int = 1
    head_limit: int = 2**16


# --- CPU ------------------------------------------------------------------------------------------


def _cpu_forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, is_causal: bool, scale: float | None) -> Any:
    output, lse = _aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, 0.0, is_causal, attn_mask=bias, scale=scale
    )
    return output, lse, ()


def _cpu_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, output: Tensor, lse: Tensor,
    extras: tuple[Any, ...], is_causal: bool, scale: float | None,
) -> Any:  # fmt: skip
    return _aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, q, k, v, output, lse, 0.0, is_causal, attn_mask=bias, scale=scale
    )


# --- CUDA -----------------------------------------------------------------------------------------


def _flash_forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, is_causal: bool, scale: float | None) -> Any:
    output, lse, cum_q, cum_k, max_q, max_k, rng, unused, _ = _aten._scaled_dot_product_flash_attention(
        q, k, v, 0.0, is_causal, False, scale=scale
    )
    return output, lse, (cum_q, cum_k, max_q, max_k, rng, unused)


def _flash_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, output: Tensor, lse: Tensor,
    extras: tuple[Any, ...], is_causal: bool, scale: float | None,
) -> Any:  # fmt: skip
    cum_q, cum_k, max_q, max_k, rng, unused = extras
    return _aten._scaled_dot_product_flash_attention_backward(
        grad, q, k, v, output, lse, cum_q, cum_k, max_q, max_k, 0.0, is_causal, rng, unused, scale=scale
    )


def _aligned(bias: Tensor | None, q: Tensor, k: Tensor) -> Tensor | None:
    """The bias in full shape, its rows padded to 16 bytes, as the memory-efficient kernel wants it."""
    if bias is None:
        return None
    keys = k.shape[2]
    bias = bias.expand(q.shape[0], q.shape[1], q.shape[2], keys)
    return pad(bias, (0, -keys % 16))[..., :keys] if keys % 16 else bias


def _efficient_forward(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, is_causal: bool, scale: float | None
) -> Any:
    output, lse, seed, offset = _aten._scaled_dot_product_efficient_attention(
        q, k, v, _aligned(bias, q, k), True, 0.0, is_causal, scale=scale
    )
    return output, lse, (seed, offset)


def _efficient_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, output: Tensor, lse: Tensor,
    extras: tuple[Any, ...], is_causal: bool, scale: float | None,
) -> Any:  # fmt: skip
    seed, offset = extras
    dq, dk, dv, _ = _aten._scaled_dot_product_efficient_attention_backward(
        grad, q, k, v, _aligned(bias, q, k), output, lse, seed, offset, 0.0, [True, True, True, False],
        is_causal, scale=scale,
    )  # fmt: skip
    return dq, dk, dv


def _cudnn_forward(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, is_causal: bool, scale: float | None) -> Any:
    full = None if bias is None else bias.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    output, lse, cum_q, cum_k, max_q, max_k, seed, offset, _ = _aten._scaled_dot_product_cudnn_attention(
        q, k, v, full, True, 0.0, is_causal, False, scale=scale
    )
    return output, lse, (cum_q, cum_k, max_q, max_k, seed, offset)


def _cudnn_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, output: Tensor, lse: Tensor,
    extras: tuple[Any, ...], is_causal: bool, scale: float | None,
) -> Any:  # fmt: skip
    cum_q, cum_k, max_q, max_k, seed, offset = extras
    full = None if bias is None else bias.expand(q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    return _aten._scaled_dot_product_cudnn_attention_backward(
        grad, q, k, v, output, lse, seed, offset, full, cum_q, cum_k, max_q, max_k, 0.0, is_causal, scale=scale
    )


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("cpu-flash", "cpu", SDPBackend.FLASH_ATTENTION, _cpu_forward, _cpu_backward),
        Kernel(
            "cuda-flash", "cuda", SDPBackend.FLASH_ATTENTION, _flash_forward, _flash_backward,
            takes_mask=False, head_multiple=8, head_limit=256,
        ),
        Kernel(
            "cuda-efficient", "cuda", SDPBackend.EFFICIENT_ATTENTION, _efficient_forward, _efficient_backward,
            head_multiple=8,
        ),
        Kernel(
            "cuda-cudnn",
            "cuda",
            SDPBackend.CUDNN_ATTENTION,
            _cudnn_forward,
            _cudnn_backward,
            head_multiple=8,
            head_limit=128,
        ),
    )
}  # fmt: skip


# --- choosing -------------------------------------------------------------------------------------


def chosen_by_sdpa(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None, gqa: bool
) -> Kernel | None:
    """The kernel of the table that `F.scaled_dot_product_attention` would run on exactly these tensors.

    None where that is no kernel of the table, or one whose log-sum-exp is of no use.
    """
    if query.ndim != 4 or (is_causal and scale is not None and scale <= 0):
        # The fused kernels hide keys before they scale, so that a causal scale of 0 or less gives them NaN.
        return None
    if torch.compiler.is_compiling():
        choice = _choice_while_tracing(query, key, value, mask, is_causal, gqa)
    else:
        choice = int(torch._fused_sdp_choice(query, key, value, mask, 0.0, is_causal, scale=scale, enable_gqa=gqa))
    device = query.device.type
    return next((k for k in KERNELS.values() if k.device == device and int(k.backend.value) == choice), None)


def _choice_while_tracing(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, gqa: bool
) -> int:
    """SDPA's choice from the metadata alone.

    Dynamo cannot trace `_fused_sdp_choice` (it returns an int), so the choice is made once, when tracing, on small
    stand-ins with the same dtype, heads and head dimension. What the stand-ins cannot show is checked here first.
    """
    plain = (
        query.shape[-1] == key.shape[-1] == value.shape[-1]
        and query.shape[0] == key.shape[0] == value.shape[0]
        and key.shape[1] == value.shape[1]
        and (gqa or query.shape[1] == key.shape[1])
        and all(t.stride(-1) == 1 for t in (query, key, value))
        and all(t.dtype == query.dtype and t.ndim == 4 for t in (query, key, value))
        and (mask is None or (mask.ndim in (2, 4) and not mask.requires_grad))
    )
    if not plain or query.shape[2] == 0 or key.shape[2] == 0:
        return int(SDPBackend.MATH.value)
    grad = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    # Constants found by branching, because sizes and their comparisons may be symbolic while tracing.
    key_heads = 2 if query.shape[1] == key.shape[1] else 1
    dim = next((limit for limit in _HEAD_DIMS if query.shape[-1] <= limit), 512)
    dim = dim if query.shape[-1] % 8 == 0 else dim - 1
    mask_dtype = None if mask is None else mask.dtype
    return _choice_for(query.device.type, query.dtype, key_heads, dim, mask_dtype, is_causal, grad)


_HEAD_DIMS = (8, 16, 32, 64, 96, 128, 160, 192, 256)


@constant_while_tracing
def _choice_for(
    device: str, dtype: torch.dtype, key_heads: int, dim: int, mask_dtype: torch.dtype | None, is_causal: bool,
    grad: bool,
) -> int:  # fmt: skip
    query = torch.empty(1, 2, 64, dim, dtype=dtype, device=device, requires_grad=grad)
    key = torch.empty(1, key_heads, 64, dim, dtype=dtype, device=device, requires_grad=grad)
    mask = None if mask_dtype is None else torch.empty(64, 64, dtype=mask_dtype, device=device)
    return int(torch._fused_sdp_choice(query, key, key, mask, 0.0, is_causal, enable_gqa=key_heads == 1))


# --- running --------------------------------------------------------------------------------------


def additive_mask(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """The mask as SDPA hands it to its kernels: bool becomes 0 and -inf in the query's dtype."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -math.inf)


def run_with_lse(
    kernel: Kernel, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None
) -> tuple[Tensor, Tensor]:
    """The kernel's output and its lse, both differentiable with respect to query, key and value.

    lse: float32 `[batch, head, query]` (float64 for float64), +inf in rows that see no key.
    """
    bias = additive_mask(mask, query.dtype)
    if torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad):
        output, lse = _FusedAttention.apply(query, key, value, bias, is_causal, scale, kernel.name)
    else:
        output, lse, _ = _forward(kernel, query, key, value, bias, is_causal, scale)
        lse = _trim(lse, query.shape[2])
    # For a row that sees no key the kernels return whatever suits them (the CPU kernel 0).
    return output, lse if mask is None else lse.masked_fill(hidden_rows(mask), math.inf)


def hidden_rows(mask: Tensor) -> Tensor:
    """Rows in which the mask leaves no key: bool, the mask's shape without its last dimension."""
    # The largest is found in one pass, where comparing each would write a table as large as the mask.
    return ~mask.any(dim=-1) if mask.dtype == torch.bool else mask.amax(dim=-1) == -math.inf


def ready(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same `[batch, head, row, dim]` tensors as the fused kernels want them: unit stride, one head dimension."""
    width = max(query.shape[-1], value.shape[-1])
    padded = (pad(t, (0, width - t.shape[-1])) if t.shape[-1] < width else t for t in (query, key, value))
    query, key, value = (t if t.stride(-1) == 1 else t.contiguous() for t in padded)
    return query, key, value


def _forward(
    kernel: Kernel, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, is_causal: bool, scale: float | None
) -> tuple[Tensor, Tensor, tuple[Any, ...]]:
    dim = query.shape[-1]
    extra = -dim % kernel.head_multiple
    if not extra:
        return kernel.forward(query, key, value, bias, is_causal, scale)
    scale = dim**-0.5 if scale is None else scale
    query, key, value = (pad(tensor, (0, extra)) for tensor in (query, key, value))
    output, lse, extras = kernel.forward(query, key, value, bias, is_causal, scale)
    return output[..., :dim], lse, extras


def _trim(lse: Tensor, rows: int) -> Tensor:
    """`[batch, head, query]` out of what the kernels return: padded to 32 rows, or with a last dimension of 1."""
    lse = lse.squeeze(-1) if lse.ndim == 4 else lse
    return lse[..., :rows] if lse.shape[-1] != rows else lse


class _FusedAttention(torch.autograd.Function):
    """A fused kernel whose lse is differentiable too; the library's own formula knows only the output's gradient.

    With `P = exp(s - lse)` and `delta_i = <do_i, o_i>`, the gradient of the scores is

        ds_ij = P_ij (<do_i, v_j> - delta_i + dlse_i)

    and the kernels' backward computes it without the last term. An extra channel brings it in: with values `[v, 1]` and
    an output gradient `[do, dlse]` the product becomes `<do, v> + dlse`, while the saved output `[o, 0]` keeps delta.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, is_causal: bool, scale: float | None,
        name: str,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        output, lse, extras = _forward(KERNELS[name], query, key, value, bias, is_causal, scale)
        ctx.save_for_backward(query, key, value, bias, output, lse)
        ctx.extras, ctx.is_causal, ctx.scale, ctx.name = extras, is_causal, scale, name
        ctx.set_materialize_grads(False)
        return output, _trim(lse, query.shape[2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, grad_lse: Tensor | None) -> Any:
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # `once_differentiable` would not do: it is passed over in silence where other ways lead to the same input.
            raise RuntimeError(
                "the fused attention kernels have no second derivatives: leave create_graph=True out, or run under "
                "torch.nn.attention.sdpa_kernel(SDPBackend.MATH)"
            )
        query, key, value, bias, output, lse = ctx.saved_tensors
        kernel = KERNELS[ctx.name]
        dim = query.shape[-1]
        scale = dim**-0.5 if ctx.scale is None else ctx.scale
        extra = -dim % kernel.head_multiple
        grad = torch.zeros_like(output) if grad is None else grad
        if grad_lse is not None:
            extra = extra if extra else kernel.head_multiple
            grad = torch.cat([grad, grad_lse[..., None].to(grad.dtype)], dim=-1)
            value = torch.cat([value, torch.ones_like(value[..., :1])], dim=-1)
        width = dim + extra
        query, key, value, grad, output = (
            pad(tensor, (0, width - tensor.shape[-1])) for tensor in (query, key, value, grad, output)
        )
        gradients = kernel.backward(
            grad.contiguous(), query, key, value, bias, output, lse, ctx.extras, ctx.is_causal, scale
        )
        dq, dk, dv = (gradient[..., :dim] for gradient in gradients)
        return dq, dk, dv, None, None, None, None
