"""What a run will record of each step and layer, so that its size is known before the first step."""

import copy
import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from promptattn.maps.capture import Capture, Relation
from promptattn.maps.stream import RecordDtype
from promptattn.places import Grid
from promptattn.processors.install import attention_layers
from promptattn.records import LayerPlan, RecordsPlan
from promptattn.run.recording.grids import layer_grids
from promptattn.run.steps import calls_per_step
from promptattn.run.text.script import Moment, Timeline
from promptattn.selection import in_steps

__all__ = ["plan_records", "scheduled_calls"]


def plan_records(
    denoiser: torch.nn.Module,
    relations: Mapping[str, Sequence[Relation]],
    capture: Capture,
    timeline: Timeline,
    *,
    grids: Sequence[Grid],
    images: int,
    calls: Mapping[int, int],
    dtype: RecordDtype,
) -> RecordsPlan:
    """The records of one pipeline call.

    relations: what each layer records.
    grids: all that the denoiser's layers may see, the finest first.
    calls: of each step, how often the denoiser is called with the prompt.
    """
    places = layer_grids(denoiser, relations, grids)
    modules = attention_layers(denoiser)
    columns = timeline.columns.count

    def shape(relation: Relation, layer: str) -> tuple[int, ...]:
        front: tuple[int, ...] = (images,)
        if capture.per_head:
            front = images, len(capture.heads or ()) or int(modules[layer].heads)
        if relation == "text->text":
            return *front, columns, columns
        return *front, *places[layer], len(capture.patches) if relation == "image->image" else columns

    layers = tuple(
        LayerPlan(relation, layer, places[layer], shape(relation, layer))
        for layer, some in relations.items()
        for relation in some
    )
    total = max(calls) + 1
    predictions = {
        step: count * _predictions(timeline.at(step))
        for step, count in calls.items()
        if in_steps(capture.steps, step, total)
    }
    return RecordsPlan(layers, predictions, dtype)


def _predictions(moment: Moment) -> int:
    """How many predictions of a step are watched: parts joined by AND, and strands that are blended."""
    parts = range(len(moment.wordings)) if any(moment.composed) else range(1)
    return sum(bool(share.any()) for part in parts for share in moment.wordings[part].shares * moment.shares[part])


def scheduled_calls(pipe: Any, steps: int | None) -> Counter[int]:
    """How often the pipeline's scheduler has the denoiser called in each of so many steps; asks a copy of it.

    steps: None is the pipeline's own number.
    """
    if steps is None:
        steps = inspect.signature(pipe.__call__).parameters["num_inference_steps"].default
    scheduler = copy.deepcopy(pipe.scheduler)
    shifted = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
    scheduler.set_timesteps(steps, **shifted)
    return calls_per_step(scheduler, len(scheduler.timesteps))
