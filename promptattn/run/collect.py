"""From the recorder's buffers to the maps a user asks questions of."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from promptattn.maps import (
    Capture,
    ColumnInfo,
    HeatMaps,
    LayerMaps,
    PatchMaps,
    PromptInfo,
    Reading,
    TextAttention,
)
from promptattn.maps.capture import Relation
from promptattn.maps.recorder import Recorder
from promptattn.prompt import EncoderPlan, TokenPlan
from promptattn.run.columns import TextColumns
from promptattn.run.denoiser import DenoiserWatch
from promptattn.run.encoding import Encoded, EncoderMaps

if TYPE_CHECKING:
    from promptattn.maps.records import ColumnKind

__all__ = ["collect"]


def collect(
    watch: DenoiserWatch,
    encoded: Encoded,
    plans: Sequence[TokenPlan],
    columns: TextColumns,
    pipe: Any,
    meta: Mapping[str, Any],
) -> HeatMaps:
    """All that one run recorded, moved to the host as numpy."""
    scale = int(getattr(pipe, "vae_scale_factor", 8))
    height, width = watch.sample_size
    images = watch.images or tuple(range(len(plans)))
    names = [segment.encoders[0] for segment in encoded.segments if segment.encoders]
    prompts = tuple(_prompt(each, names, infos) for each, infos in zip(plans, columns.infos, strict=True))
    recorders = watch.recorders
    return HeatMaps(
        prompts=prompts,
        records=tuple(_layer(recorder, name) for recorder, name in _layers(watch, "image->text")),
        image_size=(height * scale, width * scale),
        prompt_index=images,
        patches=tuple(
            patch
            for recorder, name in _layers(watch, "image->image")
            for patch in _patches(recorder, name, watch.capture)
        ),
        sources=tuple(_sources(recorder, name, columns, images) for recorder, name in _layers(watch, "text->image")),
        text_attention=(
            *_text_attention(encoded.maps, plans),
            *_joint_attention(recorders.get("text->text"), columns, images, names, _denoiser_name(pipe)),
        ),
        meta={**meta, "steps": watch.total},
    )


def _layers(watch: DenoiserWatch, relation: Relation) -> list[tuple[Recorder, str]]:
    recorder = watch.recorders.get(relation)
    return [] if recorder is None else [(recorder, name) for name in recorder.layers]


def _denoiser_name(pipe: Any) -> str:
    return "unet" if getattr(pipe, "unet", None) is not None else "transformer"


def _prompt(plan: TokenPlan, names: Sequence[str], columns: tuple[ColumnInfo, ...]) -> PromptInfo:
    first, *others = [
        Reading(name, encoder.tokens, encoder.words, tuple(word.index for word in encoder.cut))
        for name in names
        for encoder in [plan[name]]
    ]
    return PromptInfo(plan.prompt.text, first.tokens, first.words, columns, first.cut, first.encoder, tuple(others))


def _layer(recorder: Recorder, name: str) -> LayerMaps:
    grid = recorder.layers[name].grid
    mean = recorder.mean(name)
    steps = recorder.steps(name)
    per_step = np.stack([_array(step, grid) for step in steps.values()]) if steps else None
    apart = recorder.heads_of(name)
    per_head = None if apart is None else _array(apart, grid)
    heads = None if apart is None else recorder.heads
    return LayerMaps(name, grid, _array(mean, grid), per_step, per_head, tuple(steps) or None, heads)


def _sources(recorder: Recorder, name: str, columns: TextColumns, images: Sequence[int]) -> LayerMaps:
    """Where the words look: each row of the text that holds a token goes to that token's column, others stay empty."""
    grid = recorder.layers[name].grid
    steps = recorder.steps(name)

    def arranged(mass: torch.Tensor) -> NDArray[np.float32]:
        """From `[image, text row, place]` to `[image, height, width, column]`."""
        whole = mass.new_zeros(len(images), mass.shape[2], columns.count)
        for image, prompt in enumerate(images):
            rows, places = _token_rows(columns, prompt)
            whole[image, :, places] = mass[image, rows].mT
        return _array(whole, grid)

    per_step = np.stack([arranged(step) for step in steps.values()]) if steps else None
    return LayerMaps(name, grid, arranged(recorder.mean(name)), per_step, steps=tuple(steps) or None)


def _token_rows(columns: TextColumns, prompt: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of the watched text rows hold a token of this prompt, and the column of each."""
    groups = columns.groups[prompt, columns.text_rows]
    is_token = torch.tensor([info.kind == "token" for info in columns.infos[prompt]] + [False])
    rows = is_token[groups].nonzero().flatten()  # group -1, no column, is the last entry
    return rows, groups[rows]


def _joint_attention(
    recorder: Recorder | None, columns: TextColumns, images: Sequence[int], names: Sequence[str], denoiser: str
) -> Iterator[TextAttention]:
    """Attention among the tokens of one encoder in the denoiser's joint attention, per image; mean over recorded steps.

    What goes to the image, to other encoders' tokens and to padding is missing from the sums.
    """
    if recorder is None or not recorder.layers:
        return
    mass = torch.stack([recorder.mean(name) for name in recorder.layers], dim=1).float().cpu()
    for image, prompt in enumerate(images):
        rows, places = _token_rows(columns, prompt)
        for name in names:
            kept = [i for i, place in enumerate(places.tolist()) if columns.infos[prompt][place].encoder == name]
            infos = tuple(columns.infos[prompt][place] for place in places[kept].tolist())
            matrix = mass[image][:, rows[kept]][:, :, places[kept]].numpy()
            yield TextAttention(f"{denoiser} {name}", infos, np.ascontiguousarray(matrix), prompt, image)


def _array(mass: torch.Tensor, grid: tuple[int, int]) -> NDArray[np.float32]:
    """`[image, (head,) height * width, column]` to numpy `[image, (head,) height, width, column]`."""
    return mass.unflatten(-2, grid).float().cpu().numpy()


def _patches(recorder: Recorder, name: str, capture: Capture | None) -> list[PatchMaps]:
    assert capture is not None
    grid = recorder.layers[name].grid
    mass = _array(recorder.mean(name), grid)
    return [
        PatchMaps(name, grid, (row, column), np.ascontiguousarray(mass[..., index]))
        for index, (row, column) in enumerate(capture.patches)
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
        token = None if slot.token is None else encoder.tokens[slot.token]
        text, word = (f"<{slot.kind}>", None) if token is None else (token.text, token.word)
        infos.append(ColumnInfo(cast("ColumnKind", slot.kind), text, slot.token, chunk, encoder.name, word))
        positions.append(position)
    return tuple(infos), positions
