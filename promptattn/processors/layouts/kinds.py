"""From an attention layer to what it attends to."""

from typing import Any

import torch

from promptattn.processors.layouts.layout import LayerKind

__all__ = [
    "added_or_cross",
    "adds_keys",
    "always_added",
    "always_image",
    "always_joint",
    "cross_by_width",
    "cross_or_image",
    "cross_or_linear",
    "projects_text",
    "sd3",
]


def cross_or_image(layer: torch.nn.Module) -> LayerKind:
    return "cross" if getattr(layer, "is_cross_attention", False) else "image"


def cross_or_linear(layer: torch.nn.Module) -> LayerKind:
    return "cross" if getattr(layer, "is_cross_attention", False) else "linear"


def adds_keys(layer: torch.nn.Module) -> bool:
    """Whether the keys of a UNet's layer are text and image together: it has one of the `AttnAddedKV` processors."""
    return any("AttnAddedKV" in cls.__name__ for cls in type(layer.processor).__mro__)


def projects_text(denoiser: torch.nn.Module) -> bool:
    """Whether a UNet makes text narrower before any layer reads it; IP-Adapters put that aside under another name."""
    projection = getattr(denoiser, "text_encoder_hid_proj", None)
    config: Any = denoiser.config
    return projection is not None or config.get("encoder_hid_dim_type") == "text_proj"


def added_or_cross(layer: torch.nn.Module) -> LayerKind:
    if not adds_keys(layer):
        return cross_or_image(layer)
    return "cross" if layer.only_cross_attention else "added"


def always_added(layer: torch.nn.Module) -> LayerKind:
    return "added"


def always_image(layer: torch.nn.Module) -> LayerKind:
    return "image"


def cross_by_width(layer: torch.nn.Module) -> LayerKind:
    """Kandinsky 3's self-attention too is told how wide its keys' embeddings are, as wide as those of its queries."""
    queries, keys = layer.get_submodule("to_q"), layer.get_submodule("to_k")
    return "image" if getattr(keys, "in_features", None) == getattr(queries, "in_features", None) else "cross"


def always_joint(layer: torch.nn.Module) -> LayerKind:
    return "joint"


def sd3(layer: torch.nn.Module) -> LayerKind:
    """The second attention of Stable Diffusion 3.5's dual blocks is among image rows alone."""
    return "image" if getattr(layer, "added_kv_proj_dim", None) is None else "joint"
