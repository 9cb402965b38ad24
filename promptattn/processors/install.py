"""Putting derived processors into a denoiser, noticing when somebody replaces them, and taking them out exactly."""

from collections.abc import Sequence
from typing import Any

import torch

from promptattn.errors import UnsupportedModelError
from promptattn.processors.derive import DerivedProcessor, derive, why_not
from promptattn.processors.site import Site
from promptattn.telling import tell

__all__ = ["Installation", "attention_layers"]


def attention_layers(denoiser: torch.nn.Module) -> dict[str, Any]:
    """Every attention layer of a denoiser that has a processor, by module name, in the order of the modules."""
    return {
        name: module
        for name, module in denoiser.named_modules()
        if hasattr(module, "set_processor") and hasattr(module, "processor")
    }


class Installation:
    """Derived processors on the named layers of a denoiser, one each.

    Attributes:
        sites: the state of each layer, by name.

    Raises:
        UnsupportedModelError: when a layer's processor cannot be derived from. Nothing is changed then.
    """

    def __init__(self, denoiser: torch.nn.Module, names: Sequence[str]) -> None:
        layers = attention_layers(denoiser)
        self._denoiser = denoiser
        self._layers = {name: layers[name] for name in names}
        for name, layer in self._layers.items():
            _refuse_underivable(name, layer.processor)
        self._own: dict[str, Any] = {}
        self._made: list[Any] = []
        self._told: set[str] = set()
        try:
            for name in self._layers:
                self._put(name)
        except BaseException:
            self.remove()
            raise

    @property
    def sites(self) -> dict[str, Site]:
        return {name: processor.site for name, processor in self._own.items()}

    def verify(self) -> None:
        """See that every layer still has its derived processor; put it on top of whatever has replaced it.

        Loading an IP-Adapter, fusing projections or switching slicing on while a run is attached replaces
        processors behind its back.

        Raises:
            UnsupportedModelError: when the new processor cannot be derived from; names it and the layer.
        """
        for name, layer in self._layers.items():
            # Perturbed-attention guidance sets its own processors for one pipeline call, and then ours again.
            if self._is_ours(layer.processor):
                self._own[name] = layer.processor
        replaced = [name for name, layer in self._layers.items() if not self._stands(name, layer.processor)]
        for name in replaced:
            _refuse_underivable(name, self._layers[name].processor)
        for name in replaced:
            _set(self._layers[name], _stock_of(self._layers[name].processor))
            self._put(name)
        if replaced:
            cls = self._own[replaced[0]]._stock_class.__name__
            tell(
                f"{len(replaced)} attention processors were replaced by {cls} while attached (first: {replaced[0]});"
                " weights and capture go on with the new ones."
            )

    def remove(self) -> None:
        """Give every layer the very processor that it had. One that somebody else has set since then is left."""
        for name, own in self._own.items():
            layer = self._layers[name]
            if self._is_ours(layer.processor):
                _set(layer, layer.processor.stock)
                continue
            above = _above(layer.processor, own)
            if above is not None:
                # A run that started later is still attached on top: it answers to what lies under this one now.
                fallback = own.stock if isinstance(own.stock, DerivedProcessor) else None
                object.__setattr__(above, "stock", own.stock)
                object.__setattr__(above, "fallback", fallback)
            elif isinstance(layer.processor, DerivedProcessor) and layer.processor.stock is None:
                # Upstream copied the class of ours when it set up its own (load_ip_adapter does).
                _set(layer, _stock_of(layer.processor))
        self._forget_in_backup()
        self._own, self._made = {}, []

    def _forget_in_backup(self) -> None:
        """`fuse_qkv_projections` keeps the processors it replaced, to put back later: let those be the stock ones."""
        backup = getattr(self._denoiser, "original_attn_processors", None) or {}
        for name, processor in backup.items():
            if self._is_ours(processor):
                backup[name] = processor.stock

    def _put(self, name: str) -> None:
        stock = self._layers[name].processor
        own = derive(type(stock)).standing_for(stock, name)
        own.site.told = self._told
        own.take_ticket()
        # Noted before it is set: an interrupt in between must leave nothing that `remove` does not know.
        self._made.append(own)
        self._own[name] = own
        _set(self._layers[name], own)

    def _is_ours(self, processor: Any) -> bool:
        return any(processor is made for made in self._made)

    def _stands(self, name: str, processor: Any) -> bool:
        return processor is self._own[name] or _above(processor, self._own[name]) is not None


def _refuse_underivable(name: str, processor: Any) -> None:
    cls = getattr(type(processor), "_stock_class", type(processor))
    reason = why_not(cls)
    if reason is None:
        return
    raise UnsupportedModelError(
        f"attention layer {name} has the processor {cls.__name__}, which can be neither weighted nor captured:"
        f" {reason}. {_remedy(cls.__name__)}"
    )


def _remedy(cls: str) -> str:
    if "Sliced" in cls:
        return "Call pipe.disable_attention_slicing() first."
    if "XFormers" in cls:
        return "Call pipe.disable_xformers_memory_efficient_attention() first."
    return "Set one that can, for example pipe.unet.set_attn_processor(AttnProcessor2_0())."


def _stock_of(processor: Any) -> Any:
    """A stock processor with the state of `processor`; itself unless upstream made it by copying our class."""
    if not isinstance(processor, DerivedProcessor) or processor.stock is not None:
        return processor
    stock: Any = object.__new__(processor._stock_class)
    object.__setattr__(stock, "__dict__", processor.__dict__)
    return stock


def _above(top: Any, own: Any) -> Any:
    """The derived processor that stands directly on `own` in the chain under `top`, or None."""
    while isinstance(top, DerivedProcessor):
        if top.stock is own:
            return top
        top = top.stock
    return None


def _set(layer: Any, processor: Any) -> None:
    # Not set_processor: it logs that trained weights are being removed, which they are not.
    layer._modules.pop("processor", None)
    layer.__dict__.pop("processor", None)
    layer.processor = processor
