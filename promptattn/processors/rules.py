"""Where a rule of weights has no meaning: said in words before anything runs."""

from collections.abc import Iterable, Mapping

import torch

from promptattn.core import Rule
from promptattn.errors import UnsupportedModelError
from promptattn.processors.install import attention_layers
from promptattn.processors.layouts import LayerKind

__all__ = ["check_rule"]


def check_rule(rule: Rule, denoiser: torch.nn.Module, names: Iterable[str], kinds: Mapping[str, LayerKind]) -> None:
    """Refuse "scaling" for layers where a longer embedding does not make a longer key.

    Args:
        names: the layers that are to be weighted.

    Raises:
        UnsupportedModelError: names the first such layer, why, and the method that works there.
    """
    if rule != "scaling":
        return
    layers = attention_layers(denoiser)
    for name in names:
        if reason := _not_linear(layers[name], kinds[name]):
            raise UnsupportedModelError(
                f'weighting="negpip" has no meaning in {type(denoiser).__name__}: {reason} ({name}), so the length of'
                ' an embedding does not reach them; use weighting="attention", whose weights act there, negative ones'
                " too."
            )


def _not_linear(layer: torch.nn.Module, kind: LayerKind) -> str | None:
    """Why the keys of a layer are no linear function of its text, in words, or None when they are."""
    if kind == "joint":
        normed = getattr(layer, "norm_added_k", None) is not None or getattr(layer, "norm_k", None) is not None
        return "its keys are normalised" if normed else "its text is normalised before it is projected to keys"
    if getattr(layer, "norm_k", None) is not None:
        return "its keys are normalised"
    if getattr(layer, "norm_cross", None):
        return "its text is normalised before it is projected to keys"
    projection = getattr(layer, "add_k_proj" if kind == "added" else "to_k", None)
    if getattr(projection, "bias", None) is not None:
        return "its key projection has a bias"
    return None
