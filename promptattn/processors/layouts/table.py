"""Where text and image sit in each denoiser: one short declarative entry per class."""

from collections.abc import MutableMapping
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch

from promptattn.errors import UnsupportedModelError
from promptattn.processors.install import attention_layers
from promptattn.processors.layouts import grids, kinds, seats, sizes, text
from promptattn.processors.layouts.layout import Layout
from promptattn.processors.refused import why_refused

__all__ = ["ADDING_KEYS", "FOUND", "LAYOUTS", "PROJECTING", "known_layout", "layout_of"]

LAYOUTS: dict[str, Layout] = {
    "UNet2DConditionModel": Layout(
        {
            "Stable Diffusion 1, 2": "CLIP",
            "Stable Diffusion XL": "CLIP, CLIP",
            "Stable Diffusion XL refiner": "CLIP",
            "LCM": "CLIP",
            "AltDiffusion": "XLM-RoBERTa (not weighted)",
        },
        sizes.of_sample,
        grids.halvings,
        kinds.cross_or_image,
        "cross",
        pooled=("added_cond_kwargs", "text_embeds"),
        sample="sample",
        repeats_text=True,
        preset="shapes",
    ),
    "SD3Transformer2DModel": Layout(
        {"Stable Diffusion 3, 3.5": "CLIP, CLIP, T5"},
        sizes.of_latents,
        grids.patches,
        kinds.sd3,
        text_first=False,
        worsened="skip_layers",
        preset="shapes-dit",
    ),
    "FluxTransformer2DModel": Layout(
        {"Flux.1": "T5, CLIP (pooled)"}, sizes.of_positions, grids.packed, kinds.always_joint
    ),
    "ChromaTransformer2DModel": Layout(
        {"Chroma": "T5"}, sizes.of_positions, grids.packed, kinds.always_joint, mask="attention_mask"
    ),
    # Its register tokens are eight, by the class and not by the config.
    "AuraFlowTransformer2DModel": Layout(
        {"AuraFlow": "UMT5"}, sizes.of_latents, grids.patches, kinds.always_joint, before_text=8, repeats_text=True
    ),
    "PixArtTransformer2DModel": Layout(
        {"PixArt-alpha": "T5", "PixArt-sigma": "T5"},
        sizes.of_latents,
        grids.patches,
        kinds.cross_or_image,
        "cross",
        mask="encoder_attention_mask",
        repeats_text=True,
    ),
    "QwenImageTransformer2DModel": Layout(
        {"Qwen-Image": "Qwen2.5-VL"}, sizes.of_shapes, grids.packed, kinds.always_joint
    ),
    "Flux2Transformer2DModel": Layout(
        {"Flux.2": "Mistral 3", "Flux.2 Klein": "Qwen3"}, sizes.of_positions, grids.packed, kinds.always_joint
    ),
    "ZImageTransformer2DModel": Layout(
        {"Z-Image": "Qwen3"},
        sizes.of_list,
        grids.first_patches,
        kinds.always_joint,
        refiners={"noise_refiner": "image", "context_refiner": "text"},
        text="cap_feats",
        as_rows=text.filled_up,
        seats=seats.by_32,
        sample="x",
        timestep="t",
        negative_first=False,
    ),
    "Lumina2Transformer2DModel": Layout(
        {"Lumina 2": "Gemma 2 (not weighted)"},
        sizes.of_latents,
        grids.patches,
        kinds.always_joint,
        refiners={"noise_refiner": "image", "context_refiner": "text"},
        seats=seats.behind_own_text,
        mask="encoder_attention_mask",
    ),
    "CogView3PlusTransformer2DModel": Layout({"CogView3+": "T5"}, sizes.of_latents, grids.patches, kinds.always_joint),
    "CogView4Transformer2DModel": Layout({"CogView4": "GLM-4"}, sizes.of_latents, grids.patches, kinds.always_joint),
    "ErnieImageTransformer2DModel": Layout(
        {"Ernie-Image": "Mistral 3"},
        sizes.of_packed_latents,
        grids.packed,
        kinds.always_joint,
        text="text_bth",
        as_rows=text.filled_up,
        text_first=False,
    ),
    "BriaTransformer2DModel": Layout({"Bria": "T5"}, sizes.of_positions, grids.packed, kinds.always_joint),
    # Rows of other layers of the text encoder, for each layer of its own, stand in the same places.
    "BriaFiboTransformer2DModel": Layout(
        {"Bria FIBO": "SmolLM3"}, sizes.of_positions, grids.packed, kinds.always_joint
    ),
    "NucleusMoEImageTransformer2DModel": Layout(
        {"NucleusMoE-Image": "Qwen3-VL"},
        sizes.of_shapes,
        grids.packed,
        kinds.always_added,
        "added",
        text_first=False,
    ),
    "QwenImage21Transformer2DModel": Layout(
        {"Qwen-Image 2.1": "Qwen3-VL"},
        sizes.of_target_shape,
        grids.whole,
        kinds.always_added,
        "added",
        seats=seats.behind_words,
    ),
    "HunyuanImageTransformer2DModel": Layout(
        {"HunyuanImage 2.1": "Qwen2.5-VL, ByT5 (texts in quotes)"},
        sizes.of_latents,
        grids.oblong_patches,
        kinds.always_joint,
        refiners={"context_embedder": "text"},
        seats=seats.behind_glyphs,
    ),
    "Krea2Transformer2DModel": Layout(
        {"Krea 2": "Qwen3-VL"},
        sizes.of_joint_positions,
        grids.packed,
        kinds.always_joint,
        refiners={"text_fusion": "text"},
        as_rows=text.side_by_side,
    ),
    "LongCatImageTransformer2DModel": Layout(
        {"LongCat-Image": "Qwen2.5-VL"}, sizes.of_positions, grids.packed, kinds.always_joint
    ),
    "OvisImageTransformer2DModel": Layout(
        {"Ovis-Image": "Qwen3"}, sizes.of_positions, grids.packed, kinds.always_joint
    ),
    "PRXTransformer2DModel": Layout(
        {"PRX": "T5Gemma (not weighted)", "PRX Pixel": "Qwen3"},
        sizes.of_latents,
        grids.patches,
        kinds.always_added,
        "added",
    ),
    "HiDreamImageTransformer2DModel": Layout(
        {"HiDream": "T5, Llama, CLIP, CLIP (pooled)"},
        sizes.of_latents,
        grids.patches,
        kinds.always_joint,
        text="encoder_hidden_states_t5",
        further=text.of_llama_twice,
        seats=seats.behind_largest,
        pooled=("pooled_embeds",),
        timestep="timesteps",
        text_first=False,
    ),
    "HunyuanDiT2DModel": Layout(
        {"HunyuanDiT": "BERT, mT5"},
        sizes.of_latents,
        grids.patches,
        kinds.cross_or_image,
        "cross",
        further=text.of_t5,
    ),
    "LuminaNextDiT2DModel": Layout(
        {"Lumina-Next": "Gemma"},
        sizes.of_latents,
        grids.patches,
        kinds.cross_or_image,
        "cross",
        negative_first=False,
    ),
    "Kandinsky3UNet": Layout(
        {"Kandinsky 3": "T5"},
        sizes.of_sample,
        grids.halvings,
        kinds.cross_by_width,
        "cross",
        refiners={"add_time_condition": "text"},
        sample="sample",
    ),
    "Kandinsky5Transformer3DModel": Layout(
        {"Kandinsky 5": "Qwen2.5-VL, CLIP (pooled)"},
        sizes.of_frame,
        grids.patches_of_frame,
        kinds.always_image,
        "cross",
        refiners={"text_transformer_blocks": "text", "*.cross_attention": "cross"},
    ),
    "SanaTransformer2DModel": Layout(
        {"Sana": "Gemma 2 (not weighted)", "Sana-Sprint": "Gemma 2 (not weighted)"},
        sizes.of_latents,
        grids.patches,
        kinds.cross_or_linear,
        "cross",
        linear=True,
    ),
}


ADDING_KEYS: dict[str, Layout] = {
    "UNet2DConditionModel": replace(
        LAYOUTS["UNet2DConditionModel"],
        families={"DeepFloyd IF": "T5"},
        kind=kinds.added_or_cross,
        attention="added",
        preset=None,
    ),
}
"""Layouts of denoisers of the same classes, where a layer of them has text and image for keys."""

PROJECTING: dict[str, Layout] = {
    "UNet2DConditionModel": replace(
        LAYOUTS["UNet2DConditionModel"],
        families={"Kolors": "ChatGLM3 (not weighted)"},
        # Its pipelines repeat the pooled embeddings, and not the others.
        repeats_text=False,
        preset=None,
    ),
}
"""Layouts of denoisers of the same classes that make their text narrower first, and have no such layer."""


FOUND: MutableMapping[torch.nn.Module, Layout] = WeakKeyDictionary()
"""The layouts of denoisers that the table does not know, found by trying: see :mod:`promptattn.discovery`."""


def known_layout(denoiser: torch.nn.Module) -> Layout | None:
    """The layout of a denoiser, by the name of its class or of one it derives from, or as found; None for no such.

    Raises:
        UnsupportedModelError: for one that is refused, with the reason.
    """
    if reason := why_refused(denoiser):
        raise UnsupportedModelError(f"{type(denoiser).__name__} cannot be attended: {reason}.")
    names = (cls.__name__ for cls in type(denoiser).__mro__)
    return next((_table(denoiser)[name] for name in names if name in LAYOUTS), FOUND.get(denoiser))


def _table(denoiser: torch.nn.Module) -> dict[str, Layout]:
    if any(map(kinds.adds_keys, attention_layers(denoiser).values())):
        return LAYOUTS | ADDING_KEYS
    return LAYOUTS | PROJECTING if kinds.projects_text(denoiser) else LAYOUTS


def layout_of(denoiser: torch.nn.Module) -> Layout:
    """As `known_layout`, and also raises `UnsupportedModelError` where there is none; lists those that there are."""
    if layout := known_layout(denoiser):
        return layout
    raise UnsupportedModelError(
        f"{type(denoiser).__name__} is not a denoiser that promptattn knows yet; it knows {', '.join(sorted(LAYOUTS))}."
    )
