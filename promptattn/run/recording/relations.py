"""What each attention layer of a denoiser is to record."""

from collections.abc import Mapping

import torch

from promptattn.errors import CaptureError, ConfigError
from promptattn.maps.capture import RELATIONS, Capture, Relation
from promptattn.processors.install import attention_layers
from promptattn.processors.layouts import READING, LayerKind
from promptattn.selection import match_layers

__all__ = ["RELATIONS_BY_KIND", "check_heads", "readers", "relations"]

RELATIONS_BY_KIND: dict[LayerKind, tuple[Relation, ...]] = {
    "cross": ("image->text",),
    "joint": RELATIONS,
    "added": ("image->text", "image->image"),
    "image": ("image->image",),
    "text": (),
    "linear": (),
}


def readers(denoiser: torch.nn.Module, kinds: Mapping[str, LayerKind]) -> list[str]:
    """Names of the layers that see text, in the order in which the modules stand.

    Raises:
        CaptureError: when there is none at all.
    """
    found = [name for name, kind in kinds.items() if kind in READING]
    if not found:
        raise CaptureError(f"{type(denoiser).__name__} has no cross-attention layer, so words have no place in it.")
    return found


def relations(
    denoiser: torch.nn.Module, kinds: Mapping[str, LayerKind], capture: Capture
) -> dict[str, tuple[Relation, ...]]:
    """What each layer is to record; layers that record nothing are left out.

    Raises:
        ConfigError: when no layer can record what was asked for.
    """
    wanted = {*capture.relations, *(["image->image"] if capture.patches else [])}
    selected = match_layers(list(kinds), capture.layers, "Capture(layers=...)")
    chosen = {name: tuple(each for each in RELATIONS_BY_KIND[kinds[name]] if each in wanted) for name in selected}
    there = {relation for some in chosen.values() for relation in some}
    anywhere = {relation for kind in kinds.values() for relation in RELATIONS_BY_KIND[kind]}
    if "text->image" in wanted - anywhere:
        raise ConfigError(
            f"Capture(relations=...): in {type(denoiser).__name__} text does not look at the image (it has no joint"
            " attention), so there is no text->image to record."
        )
    if "image->image" in wanted - anywhere:
        raise ConfigError(
            f"Capture(patches=...): in {type(denoiser).__name__} places of the image attend to each other linearly, so"
            " that none has a share of what another takes, or not at all; there is no image->image to record."
        )
    if "image->image" in wanted - there:
        raise ConfigError(f"Capture(layers={capture.layers!r}) selects no self-attention layer to record patches in.")
    if "image->text" in wanted - there and not capture.patches:
        raise ConfigError(f"Capture(layers={capture.layers!r}) selects no cross-attention layer to record words in.")
    if "text->image" in wanted - there:
        raise ConfigError(f"Capture(layers={capture.layers!r}) selects no joint-attention layer to record words in.")
    return {name: some for name, some in chosen.items() if some}


def check_heads(denoiser: torch.nn.Module, recorded: Mapping[str, object], capture: Capture) -> None:
    """Refuse, before anything is touched, heads that not every recorded layer has.

    Raises:
        ConfigError: names the first such layer.
    """
    if capture.heads is None:
        return
    heads = tuple(capture.heads)
    for name, layer in attention_layers(denoiser).items():
        if name in recorded and not all(0 <= head < layer.heads for head in heads):
            raise ConfigError(
                f"Capture(heads={heads}): {name} has {layer.heads} heads, 0 to {layer.heads - 1}; choose heads"
                " that every captured layer has, or fewer layers."
            )
