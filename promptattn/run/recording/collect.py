"""From the recorder's buffers to the maps a user asks questions of."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from promptattn.maps import Capture, HeatMaps, LayerMaps, PatchMaps, TextAttention
from promptattn.maps.capture import Relation
from promptattn.maps.joint_text import joint_text_attention
from promptattn.maps.recorder import Recorder
from promptattn.run.denoiser import DenoiserWatch
from promptattn.run.recording.arranging import arrangement
from promptattn.run.recording.encoder_maps import text_encoder_maps
from promptattn.run.sizes import image_size
from promptattn.run.text.script import Timeline

__all__ = ["collect", "denoiser_name"]


def collect(watch: DenoiserWatch, pipe: Any, meta: Mapping[str, Any]) -> HeatMaps:
    """All that was recorded of the image made last, moved to the host as numpy."""
    timeline = watch.timeline
    assert timeline is not None
    return HeatMaps(
        prompts=timeline.columns.prompts,
        records=tuple(_layer(recorder, name) for recorder, name in _layers(watch, "image->text")),
        image_size=image_size(pipe, watch.sample_size),
        prompt_index=watch.images,
        patches=tuple(
            patch
            for recorder, name in _layers(watch, "image->image")
            for patch in _patches(recorder, name, watch.capture)
        ),
        sources=tuple(_sources(recorder, name, timeline, watch) for recorder, name in _layers(watch, "text->image")),
        text_attention=(*text_encoder_maps(timeline), *_joint_attention(watch, timeline, denoiser_name(pipe))),
        meta={**meta, "steps": watch.total},
    )


def _layers(watch: DenoiserWatch, relation: Relation) -> list[tuple[Recorder, str]]:
    recorder = watch.recorders.get(relation)
    return [] if recorder is None else [(recorder, name) for name in recorder.layers]


def denoiser_name(pipe: Any) -> str:
    """What the pipeline calls its denoiser."""
    return "unet" if getattr(pipe, "unet", None) is not None else "transformer"


def _layer(recorder: Recorder, name: str) -> LayerMaps:
    grid = recorder.layers[name].grid
    mean = recorder.mean(name)
    steps = recorder.steps(name)
    per_step = np.stack([_array(step, grid) for step in steps.values()]) if steps else None
    apart = recorder.heads_of(name)
    per_head = None if apart is None else _array(apart, grid)
    heads = None if apart is None else recorder.heads
    return LayerMaps(name, grid, _array(mean, grid), per_step, per_head, tuple(steps) or None, heads)


def _sources(recorder: Recorder, name: str, timeline: Timeline, watch: DenoiserWatch) -> LayerMaps:
    """Where the words look."""
    grid = recorder.layers[name].grid
    arranged = arrangement("text->image", timeline, watch.images)
    steps = recorder.steps(name, arranged)
    per_step = np.stack([_array(step, grid) for step in steps.values()]) if steps else None
    return LayerMaps(name, grid, _array(recorder.mean(name, arranged), grid), per_step, steps=tuple(steps) or None)


def _joint_attention(watch: DenoiserWatch, timeline: Timeline, denoiser: str) -> Iterator[TextAttention]:
    """Attention among the tokens of one encoder in the denoiser's joint attention; mean over recorded steps."""
    recorder = watch.recorders.get("text->text")
    if recorder is None or not recorder.layers:
        return
    arranged = arrangement("text->text", timeline, watch.images)
    mass = torch.stack([recorder.mean(name, arranged) for name in recorder.layers], dim=1).float().cpu().numpy()
    yield from joint_text_attention(mass, timeline.columns.prompts, watch.images, denoiser)


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
