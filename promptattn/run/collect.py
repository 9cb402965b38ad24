"""From the recorder's buffers to the maps a user asks questions of."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from promptattn.maps import ColumnInfo, HeatMaps, LayerMaps, PatchMaps, PromptInfo, TextAttention
from promptattn.prompt import EncoderPlan, TokenPlan
from promptattn.run.denoiser import DenoiserWatch
from promptattn.run.encoding import EncoderMaps

if TYPE_CHECKING:
    from promptattn.maps.records import ColumnKind

__all__ = ["collect"]


def collect(
    watch: DenoiserWatch,
    encoder_maps: Sequence[EncoderMaps],
    plans: Sequence[TokenPlan],
    columns: Sequence[tuple[ColumnInfo, ...]],
    pipe: Any,
    meta: Mapping[str, Any],
) -> HeatMaps:
    """All that one run recorded, moved to the host as numpy."""
    scale = int(getattr(pipe, "vae_scale_factor", 8))
    height, width = watch.sample_size
    prompts = [_prompt(each.prompt.text, each.encoders[0], infos) for each, infos in zip(plans, columns, strict=True)]
    return HeatMaps(
        prompts=tuple(prompts),
        records=tuple(_layer(watch, name) for name in watch.text.layers),
        image_size=(height * scale, width * scale),
        prompt_index=watch.images or tuple(range(len(plans))),
        patches=tuple(patch for name in watch.patches.layers for patch in _patches(watch, name)),
        text_attention=tuple(_text_attention(encoder_maps, plans)),
        meta={**meta, "steps": watch.follower.total},
    )


def _prompt(text: str, encoder: EncoderPlan, columns: tuple[ColumnInfo, ...]) -> PromptInfo:
    cut = tuple(word.index for word in encoder.cut)
    return PromptInfo(text, encoder.tokens, encoder.words, columns, cut)


def _layer(watch: DenoiserWatch, name: str) -> LayerMaps:
    grid = watch.text.layers[name].grid
    mean = watch.text.mean(name)
    steps = watch.text.steps(name)
    per_step = np.stack([_array(step, grid) for step in steps.values()]) if steps else None
    apart = watch.text.heads_of(name)
    per_head = None if apart is None else _array(apart, grid)
    heads = None if apart is None else watch.text.heads
    return LayerMaps(name, grid, _array(mean, grid), per_step, per_head, tuple(steps) or None, heads)


def _array(mass: torch.Tensor, grid: tuple[int, int]) -> NDArray[np.float32]:
    """`[image, (head,) height * width, column]` to numpy `[image, (head,) height, width, column]`."""
    return mass.unflatten(-2, grid).float().cpu().numpy()


def _patches(watch: DenoiserWatch, name: str) -> list[PatchMaps]:
    mean = watch.patches.mean(name)
    assert watch.capture is not None
    grid = watch.patches.layers[name].grid
    mass = _array(mean, grid)
    return [
        PatchMaps(name, grid, (row, column), np.ascontiguousarray(mass[..., index]))
        for index, (row, column) in enumerate(watch.capture.patches)
    ]


def _text_attention(encoder_maps: Sequence[EncoderMaps], plans: Sequence[TokenPlan]) -> list[TextAttention]:
    """One matrix per encoder, prompt and chunk that holds text, over start, the chunk's tokens, and end."""
    found = []
    for maps in encoder_maps:
        for prompt, each in enumerate(plans):
            encoder = next(encoder for encoder in each.encoders if encoder.name == maps.encoder)
            if maps.chunk >= len(encoder.chunks):
                continue
            infos, slots = _chunk_columns(encoder, maps.chunk)
            mass = maps.mass[prompt].float().cpu().numpy()
            name = maps.encoder if len(encoder.chunks) == 1 else f"{maps.encoder} (chunk {maps.chunk + 1})"
            matrix = np.ascontiguousarray(mass[:, slots][:, :, slots])
            found.append(TextAttention(name, infos, matrix, prompt))
    return found


def _chunk_columns(encoder: EncoderPlan, chunk: int) -> tuple[tuple[ColumnInfo, ...], list[int]]:
    """What the slots of a chunk are, padding left out, and their positions in the encoder's window."""
    infos, positions = [], []
    for position, slot in enumerate(encoder.slots[chunk * encoder.window : (chunk + 1) * encoder.window]):
        if slot.kind == "padding":
            continue
        text = f"<{slot.kind}>" if slot.token is None else encoder.tokens[slot.token].text
        infos.append(ColumnInfo(cast("ColumnKind", slot.kind), text, slot.token, chunk))
        positions.append(position)
    return tuple(infos), positions
