"""Processors derived from the stock ones: the same code object, with its attention call bound to the core.

A stock processor's `__call__` finds `F.scaled_dot_product_attention` or `dispatch_attention_fn` by global name. A
derived class runs that very code object with those two names bound to functions that pass through a :class:`Site`.
Projections, norms, rotary embeddings, IP-Adapter branches, signature and `isinstance` all survive, upstream fixes
arrive by themselves, and a neutral site calls the library's own function on the same tensors.
"""

import functools
import inspect
import itertools
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from promptattn.errors import UnsupportedModelError
from promptattn.processors.backends import Arguments, attend_through
from promptattn.processors.opaque import now, ticket_for, traced_dispatch, traced_sdpa
from promptattn.processors.site import Site

__all__ = ["DerivedProcessor", "derive", "why_not"]

_numbers = itertools.count()


class DerivedProcessor:
    """What every derived processor class has besides its stock base.

    `site` is the layer's state. `fallback` is another derived processor which answers while this site is neutral
    (two runs on one denoiser), or None. `stock` is the stock processor that this one stands for, or None when it
    was constructed by hand. `ticket` is by what compiled code finds this processor, or None where it is to be traced
    as it is. These live in slots: `__dict__` itself is shared with the stock processor, so that whatever a pipeline
    sets on one (an IP-Adapter's scale, an attention backend) holds for the other.
    """

    __slots__ = ()
    _stock_class: type
    site: Site
    fallback: "DerivedProcessor | None"
    stock: Any
    ticket: torch.Tensor | None
    _call: Any

    @classmethod
    def standing_for(cls, stock: Any, name: str = "") -> Any:
        """A derived processor that shares the state of `stock` (an instance of this class's stock base)."""
        processor = object.__new__(cls)
        object.__setattr__(processor, "__dict__", stock.__dict__)
        _prepare(processor, Site(name), stock)
        return processor

    def take_ticket(self) -> None:
        """From now on code that is compiled calls this processor by an operator that looks its site up."""
        object.__setattr__(self, "ticket", ticket_for(self))

    def attention(self, name: str) -> Callable[..., torch.Tensor]:
        """The attention function that this processor's code reaches by a global name: `F`'s, or the other itself."""
        found = self._call.__globals__[name]
        function: Callable[..., torch.Tensor] = found.scaled_dot_product_attention if name == "F" else found
        return function


def why_not(cls: type) -> str | None:
    """The reason why no processor can be derived from `cls`, in words, or None when one can."""
    call = inspect.unwrap(cls.__call__)
    if not isinstance(call, types.FunctionType):
        return "its __call__ is not a Python function"
    if call.__closure__:
        return "its __call__ is a closure"
    if _attention_names(call):
        return None
    if "get_attention_scores" in call.__code__.co_names:
        return "it builds the attention matrix itself, instead of calling scaled_dot_product_attention"
    if "memory_efficient_attention" in call.__code__.co_names:
        return "it hands its attention to xformers, which gives back no key's share of it"
    return "it calls neither scaled_dot_product_attention nor dispatch_attention_fn"


_derived: dict[tuple[type, str | None], type[DerivedProcessor]] = {}


def derive(cls: type, name: str | None = None) -> type[DerivedProcessor]:
    """The derived class of a stock processor class; the same class for the same arguments.

    Args:
        cls: a processor class whose `__call__` uses one of the two attention functions by global name.
        name: the name of the new class; the stock name behind `PromptAttn` if None.

    Raises:
        UnsupportedModelError: when the class cannot be derived from; the message says why and what to set instead.
    """
    if issubclass(cls, DerivedProcessor):
        return cls
    if known := _derived.get((cls, name)):
        return known
    if reason := why_not(cls):
        raise UnsupportedModelError(
            f"{cls.__name__} cannot be weighted or captured: {reason}. Set a processor that does before attaching, for"
            " example pipe.unet.set_attn_processor(AttnProcessor2_0()), or switch off attention slicing and xformers."
        )

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        cls.__init__(self, *args, **kwargs)
        _prepare(self, Site())

    traced = _bind_traced(inspect.unwrap(cls.__call__))

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.ticket is not None and torch.compiler.is_compiling() and not torch.is_grad_enabled():
            now[0] = self.ticket
            return traced(self, *args, **kwargs)
        if self.fallback is not None and not self.site.active:
            return self.fallback(*args, **kwargs)
        return self._call(self, *args, **kwargs)

    def __reduce_ex__(self: Any, protocol: Any) -> Any:
        # A copy stands on its own: fresh state, neutral site, its own attention call.
        return _restore, (cls, name, dict(self.__dict__))

    # Legacy `Attention` hands over only the keyword arguments that it finds in the processor's signature.
    # Not `__signature__`: Dynamo will not look at one where a dict was changed before, as peft's scales do.
    __call__.__wrapped__ = inspect.unwrap(cls.__call__)  # type: ignore[attr-defined]
    body = {
        "__slots__": ("_call", "fallback", "site", "stock", "ticket"),
        "__init__": __init__,
        "__call__": __call__,
        "__reduce_ex__": __reduce_ex__,
        "__module__": "promptattn.processors",
        "__doc__": f"`{cls.__name__}` whose attention call can be weighted and captured through `.site`.",
        "_stock_class": cls,
    }
    derived = type(name or f"PromptAttn{cls.__name__}", (DerivedProcessor, cls), body)
    return _derived.setdefault((cls, name), derived)


def _restore(cls: type, name: str | None, state: dict[str, Any]) -> Any:
    processor: Any = object.__new__(derive(cls, name))
    processor.__dict__.update(state)
    _prepare(processor, Site())
    return processor


def _prepare(processor: Any, site: Site, stock: Any = None) -> None:
    # object.__setattr__: a processor that is a torch.nn.Module would register a module-valued attribute as its child.
    put = functools.partial(object.__setattr__, processor)
    put("site", site)
    put("stock", stock)
    put("ticket", None)
    put("fallback", stock if isinstance(stock, DerivedProcessor) else None)
    put("_call", _bind(inspect.unwrap(processor._stock_class.__call__), site, owner=processor))


def _attention_names(call: types.FunctionType) -> set[str]:
    """Which of the two attention functions the code of `call` reaches by global name."""
    names, scope = set(call.__code__.co_names), call.__globals__
    found = set()
    if "scaled_dot_product_attention" in names and scope.get("F") is F:
        found.add("F")
    if "dispatch_attention_fn" in names and "dispatch_attention_fn" in scope:
        found.add("dispatch_attention_fn")
    return found


def _bind(call: types.FunctionType, site: Site, owner: Any) -> Callable[..., Any]:
    """The code object of `call` in a module of its own, where the attention functions pass through `site`.

    Dynamo finds a function's globals through `sys.modules[__name__]`, so the globals must belong to a real module
    that is registered there; it is taken out again when `owner` goes, if there is one.
    """
    functions = {
        "F": _sdpa_through(site),
        "dispatch_attention_fn": _dispatch_through(site, call.__globals__.get("dispatch_attention_fn")),
    }
    return _bound(call, functions, owner)


def _bind_traced(call: types.FunctionType) -> Callable[..., Any]:
    """Likewise, once for all processors of a class, with the operator that finds their sites when it runs."""
    return _bound(call, {"F": traced_sdpa, "dispatch_attention_fn": traced_dispatch}, owner=None)


def _bound(call: types.FunctionType, functions: dict[str, Callable[..., Any]], owner: Any) -> Callable[..., Any]:
    module = types.ModuleType(f"promptattn.processors._site_{next(_numbers)}")
    scope = module.__dict__
    scope.update({k: v for k, v in call.__globals__.items() if not k.startswith("__") or k == "__builtins__"})
    # What the code imports while it runs, it imports from where it stands: `from ..embeddings import ...`.
    scope["__package__"] = call.__globals__.get("__package__")
    names = _attention_names(call)
    if "F" in names:
        functional = types.ModuleType(f"{module.__name__}_functional")
        functional.__dict__.update({k: v for k, v in F.__dict__.items() if not k.startswith("__")})
        functional.__dict__["scaled_dot_product_attention"] = functions["F"]
        scope["F"] = functional
        _register(functional, owner)
    if "dispatch_attention_fn" in names:
        scope["dispatch_attention_fn"] = functions["dispatch_attention_fn"]
    _register(module, owner)
    # A code object of its own: Dynamo keeps what it compiled by code object, and its names among one module's globals.
    bound = types.FunctionType(call.__code__.replace(), scope, call.__name__, call.__defaults__)
    bound.__kwdefaults__ = call.__kwdefaults__
    return bound


def _register(module: types.ModuleType, owner: Any) -> None:
    sys.modules[module.__name__] = module
    if owner is not None:
        weakref.finalize(owner, sys.modules.pop, module.__name__, None)


def _sdpa_through(site: Site) -> Callable[..., torch.Tensor]:
    def scaled_dot_product_attention(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        options: dict[str, Any] = dict(dropout_p=dropout_p, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa)
        if not site.concerns(key.shape[-2]):
            return F.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask, **options)
        return site.attend(query, key, value, mask=attn_mask, **options)

    return scaled_dot_product_attention


def _dispatch_through(site: Site, dispatch: Any) -> Callable[..., torch.Tensor]:
    def dispatch_attention_fn(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        options: dict[str, Any] = dict(dropout_p=dropout_p, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa)
        # Here the layout is [batch, sequence, head, head_dim].
        if not site.concerns(key.shape[1]):
            return dispatch(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa, *args, **kwargs)
        if kwargs.get("parallel_config") is not None:
            raise UnsupportedModelError(
                f"attention layer {site.name or '(by hand)'} runs with context parallelism, where no process sees all"
                " keys, so words can be neither weighted nor captured; run without enable_parallelism."
            )
        return attend_through(site, dispatch, Arguments(query, key, value, attn_mask, options, args, kwargs))

    return dispatch_attention_fn
