"""From an attention layer to what it attends to."""

import torch

from promptattn.processors.layouts.layout import LayerKind

__all__ = ["always_added", "always_joint", "cross_or_image", "sd3"]


def cross_or_image(layer: torch.nn.Module) -> LayerKind:
    return "cross" if getattr(layer, "is_cross_attention", False) else "image"


def always_added(layer: torch.nn.Module) -> LayerKind:
    return "added"


def always_joint(layer: torch.nn.Module) -> LayerKind:
    return "joint"


def sd3(layer: torch.nn.Module) -> LayerKind:
    """The second attention of Stable Diffusion 3.5's dual blocks is among image rows alone."""
    return "image" if getattr(layer, "added_kv_proj_dim", None) is None else "joint"
