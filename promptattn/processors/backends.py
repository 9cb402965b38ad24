"""Attention backends of diffusers (`set_attention_backend`) around the core, none of which is ever given a mask more.

The output of a layer that is only watched stays the backend's own, to the bit. What is watched needs the log-sum-exp
beside it: backends that return it are used for weights too; for those that hide it, torch's own fused kernel computes
it in a pass of its own, and weighted layers run through that kernel altogether, which is told.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from torch.nn.attention import SDPBackend, sdpa_kernel

from promptattn.core import Kernel
from promptattn.processors.site import Site
from promptattn.telling import tell

__all__ = ["attend_through"]

Dispatch = Callable[..., Any]

# Those by which diffusers picks one of torch's own kernels.
_OF_TORCH = {
    "_native_cudnn": SDPBackend.CUDNN_ATTENTION,
    "_native_efficient": SDPBackend.EFFICIENT_ATTENTION,
    "_native_flash": SDPBackend.FLASH_ATTENTION,
    "_native_math": SDPBackend.MATH,
}


class Arguments(NamedTuple):
    """What a processor gives `dispatch_attention_fn`; query, key and value are `[batch, sequence, head, head_dim]`.

    options: dropout_p, is_causal, scale and enable_gqa. rest: further ones by position. named: likewise by name.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    options: dict[str, Any]
    rest: tuple[Any, ...]
    named: dict[str, Any]


def attend_through(site: Site, dispatch: Dispatch, given: Arguments) -> torch.Tensor:
    """An attention call of a layer whose site is active: output `[batch, sequence, head, head_dim]`."""
    name = _in_force(given)
    if name == "native":
        return _by_core(site, given)
    if name in _OF_TORCH:
        with sdpa_kernel(_OF_TORCH[name]):
            return _by_core(site, given, copied=name == "_native_cudnn")
    if not site.weighs and site.columns is None:
        return _by_backend(dispatch, given)
    if kernel := _kernel(dispatch, given, name):
        return _by_core(site, given, kernel=kernel)
    _tell_of_hiding(site, name)
    if site.weighs:
        return _by_core(site, given)
    output = _by_backend(dispatch, given)
    _by_core(site, given)  # for the columns
    return output


def _in_force(given: Arguments) -> str:
    backend = given.named.get("backend") or _AttentionBackendRegistry.get_active_backend()[0]
    return str(getattr(backend, "value", backend))


def _by_backend(dispatch: Dispatch, given: Arguments) -> torch.Tensor:
    output: torch.Tensor = dispatch(
        given.query, given.key, given.value, given.mask, *given.options.values(), *given.rest, **given.named
    )
    return output


def _by_core(site: Site, given: Arguments, *, kernel: Kernel | None = None, copied: bool = False) -> torch.Tensor:
    """copied: whether the backend copies what is not contiguous before it calls torch."""
    tensors = [tensor.transpose(1, 2) for tensor in given[:3]]
    if copied:
        tensors = [tensor.contiguous() for tensor in tensors]
    mask = given.mask
    if mask is not None and mask.ndim == 2 and mask.shape == (given.query.shape[0], given.key.shape[1]):
        mask = mask[:, None, None]  # which keys of which batch row are there, as diffusers reads it
    return site.attend(*tensors, mask=mask, kernel=kernel, **given.options).transpose(1, 2)


# Backends that return their log-sum-exp.


def _kernel(dispatch: Dispatch, given: Arguments, name: str) -> Kernel | None:
    """The backend as a kernel of the core, or None where it gives no log-sum-exp for this call.

    dispatch_attention_fn itself takes the call, so that its checks and what it leaves out are the same.
    """
    plain = given.mask is None and not given.options["is_causal"] and not given.options["dropout_p"] and not given.rest
    learning = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given[:3])
    if not plain or learning or given.named.get("attention_kwargs") or torch.compiler.is_compiling():
        return None
    query = given.query
    backend = _AttentionBackendRegistry._backends[AttentionBackendName(name)]
    order = _order_of_lse(dispatch, backend, name, query.device, query.dtype, query.shape[-1])
    if order is None:
        return None

    def forward(q: Any, k: Any, v: Any, bias: None, is_causal: bool, scale: float | None) -> Any:
        grouped = given.options["enable_gqa"]
        rows_first = [tensor.transpose(1, 2) for tensor in (q, k, v)]
        output, lse = _with_lse(dispatch, *rows_first, scale=scale, enable_gqa=grouped, **given.named)
        return output.transpose(1, 2), lse.transpose(1, 2) if order == "row" else lse, ()

    return Kernel(name, query.device.type, SDPBackend.OVERRIDEABLE, forward, _no_backward, takes_mask=False)


def _with_lse(dispatch: Dispatch, *tensors: torch.Tensor, **named: Any) -> tuple[torch.Tensor, torch.Tensor]:
    output, lse = dispatch(*tensors, **named, attention_kwargs={"return_lse": True})
    return output, lse.squeeze(-1) if lse.ndim == 4 else lse


def _no_backward(*args: Any) -> Any:
    raise NotImplementedError("backends of diffusers are used here without gradients only")


@cache
def _order_of_lse(
    dispatch: Dispatch, backend: Dispatch, name: str, device: torch.device, dtype: torch.dtype, dim: int
) -> Literal["head", "row"] | None:
    """Whether a backend returns its lse as `[batch, head, row]` or `[batch, row, head]`; None where it does not.

    backend: the function behind the name, so that another one behind the same name is asked anew.

    Asked of a small attention that is known, once: names and signatures promise a natural logarithm of the same scores
    that the output was made with, and kernels that leave out a base or a shift are not to be trusted with the maps.
    """
    numbers = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, rows, 2, dim, generator=numbers).to(device, dtype) for rows in (64, 128, 128))
    named: dict[str, Any] = dict(scale=None, enable_gqa=False, backend=name, parallel_config=None)
    try:
        plain = dispatch(query, key, value, **named)
        output, lse = _with_lse(dispatch, query, key, value, **named)
    except Exception:  # whatever a backend that cannot do it says
        return None
    scores = query.float().transpose(1, 2) @ key.float().permute(0, 2, 3, 1) * dim**-0.5
    expected = scores.logsumexp(-1)
    if not torch.equal(output, plain) or not isinstance(lse, torch.Tensor):
        return None
    orders: dict[Literal["head", "row"], torch.Tensor] = {"head": expected, "row": expected.transpose(1, 2)}
    for order, rows in orders.items():
        if lse.shape == rows.shape and torch.allclose(lse.float(), rows, rtol=0, atol=_ATOL[dtype]):
            return order
    return None


_ATOL = {torch.float64: 1e-5, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}


def _tell_of_hiding(site: Site, name: str) -> None:
    if name in site.told or torch.compiler.is_compiling():
        return
    site.told.add(name)
    tell(
        f"attention backend {name!r} does not give its log-sum-exp, so layers with weighted words run through torch's"
        " own attention instead, and those that are only watched compute it a second time; the images of unweighted"
        " prompts are the backend's."
    )
