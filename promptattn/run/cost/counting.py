"""How much memory a forward call holds at its worst, counted on tensors that have a shape and no memory."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["peak_bytes", "twin_of"]


def twin_of(module: Any) -> Any:
    """A diffusers model of the same config and dtype on the meta device, where it takes no memory and no time."""
    with torch.device("meta"):
        twin = type(module).from_config(module.config)
    # Not diffusers' own `to`, which logs that some parts might better stay in float32: here nothing is computed.
    return torch.nn.Module.to(twin, module.dtype).eval().requires_grad_(False)


def peak_bytes(call: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """The most bytes of new tensors that exist at any moment of `call`, its arguments moved to the meta device.

    Attention is counted as the fused kernels do it, which never hold the table of queries by keys. What kernels and
    convolutions need beside their inputs and outputs is not in it.
    """
    args, kwargs = tree_map(_on_meta, (args, kwargs))
    with torch.no_grad(), _Fused(), _Live() as live:
        call(*args, **kwargs)
    return live.peak


def _on_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, torch.Tensor) else value


class _Live(TorchDispatchMode):
    """Adds up the storages that are alive; `peak` is the most that were so at one time, in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._alive = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = {id(leaf.untyped_storage()) for leaf in _tensors((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            # A view, or an operation in place, makes nothing new.
            if id(storage) not in before and storage not in self._known:
                self._add(storage)
        self.peak = max(self.peak, self._alive)
        return result

    def _add(self, storage: Any) -> None:
        self._known.add(storage)
        size = storage.nbytes()
        self._alive += size
        weakref.finalize(storage, self._drop, size)

    def _drop(self, size: int) -> None:
        self._alive -= size


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))


class _Fused(TorchFunctionMode):
    """Attention that makes its output and nothing else."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            query, value = (kwargs or {}).get("query"), (kwargs or {}).get("value")
            query, value = (args[0] if query is None else query), (args[2] if value is None else value)
            return query.new_empty((*query.shape[:-1], value.shape[-1]))
        return func(*args, **(kwargs or {}))
