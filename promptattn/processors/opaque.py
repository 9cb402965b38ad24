"""Attention as one operator of a compiled graph: what a layer does with its words may change from step to step.

Traced as Python, a run would be compiled anew at every change of weights, steps or buffers. So in a graph each
attention call of a run is one operator, `promptattn::attend`, and its state is looked up when it runs. Which layer
calls is a tensor (a ticket) and not a number, so that equal blocks, compiled one by one, share one graph.
"""

import itertools
import sys
from collections.abc import Callable, MutableMapping
from typing import Any
from weakref import WeakValueDictionary

import torch

from promptattn.errors import UnsupportedModelError

__all__ = ["now", "ticket_for", "traced_dispatch", "traced_sdpa", "untraced"]

Attention = Callable[..., torch.Tensor]

_numbers = itertools.count()
_holders: MutableMapping[int, Any] = WeakValueDictionary()


now: list[torch.Tensor | None] = [None]
"""The ticket of the layer whose code is being traced. A list, because Dynamo lets it be changed between two looks at a
signature's parameters, which legacy layers take, and an object's attributes not."""


def untraced(function: Any) -> Any:
    """The function, left alone by `torch.compile` if that is in use; asking for it would import all of Dynamo."""
    return torch.compiler.disable(function) if "torch._dynamo" in sys.modules else function


def ticket_for(processor: Any) -> torch.Tensor:
    """A tensor by which the operator finds a derived processor again, as long as that lives."""
    number = next(_numbers)
    _holders[number] = processor
    return torch.tensor(number)


# No cudagraphs: what the operator does besides its output would be left out when one is replayed.
@torch.library.custom_op("promptattn::attend", mutates_args=(), tags=(torch._C.Tag.cudagraph_unsafe,))
def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    ticket: torch.Tensor,
    way: str,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    backend: str | None,
) -> torch.Tensor:
    """way: by which of its two attention functions the layer calls, `F`'s with heads before rows.

    Returns `[batch, row, head, dim]`, which is how the fused kernels lay out what they return.
    """
    function = _acting(_holders[int(ticket)]).attention(way)
    named = {} if way == "F" else dict(backend=backend, parallel_config=None)
    output = function(query, key, value, mask, dropout_p, is_causal, scale, enable_gqa, **named)
    return _rows_first(output, way).contiguous()


@_attend.register_fake
def _(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, ticket: Any, way: str, *_: Any
) -> torch.Tensor:
    rows_first = _rows_first(query, way)
    return query.new_empty((*rows_first.shape[:-1], value.shape[-1]))


def _rows_first(tensor: torch.Tensor, way: str) -> torch.Tensor:
    return tensor.transpose(1, 2) if way == "F" and tensor.ndim == 4 else tensor


def _acting(processor: Any) -> Any:
    """The processor that answers now: of two runs on one denoiser the one whose text this call has."""
    while processor.fallback is not None and not processor.site.active:
        processor = processor.fallback
    return processor


def traced_sdpa(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Stands for `F.scaled_dot_product_attention` in code that is traced."""
    output = _called(query, key, value, attn_mask, "F", dropout_p, is_causal, scale, enable_gqa, None)
    return _rows_first(output, "F")


def traced_dispatch(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    attention_kwargs: dict[str, Any] | None = None,
    *,
    backend: Any = None,
    parallel_config: Any = None,
) -> torch.Tensor:
    """Stands for `dispatch_attention_fn` in code that is traced."""
    if attention_kwargs or parallel_config is not None:
        raise UnsupportedModelError(
            "a compiled layer gives its attention arguments of its own, or runs with context parallelism; attend a"
            " denoiser that is not compiled."
        )
    name = None if backend is None else str(getattr(backend, "value", backend))
    way = "dispatch_attention_fn"
    return _called(query, key, value, attn_mask, way, dropout_p, is_causal, scale, enable_gqa, name)


def _called(query: Any, key: Any, value: Any, mask: Any, way: str, *options: Any) -> torch.Tensor:
    ticket = now[0]
    assert ticket is not None
    output: torch.Tensor = _attend(query, key, value, mask, ticket, way, *options)
    return output
