"""What a denoiser is called with, and what its attention layers see of it: read off its calls, not written down."""

import inspect
from collections import Counter
from typing import Any

import torch
from families.arguments import Path, described, equal, leaves, written
from families.places import batch_axis, image_places, text_places
from families.watching import Call, Run, attention_calls

from promptattn.processors.derive import why_not


def denoiser_facts(name: str, model: torch.nn.Module, run: Run, other: Run, worse: Run, seed: Run) -> dict[str, Any]:
    """What one denoiser is called with before its first scheduler step, and what its attention layers see of it.

    Args:
        run: a run.
        other: one with another prompt.
        worse: one with another negative prompt.
        seed: one with other noise.
    """
    calls = _first_step(name, run)
    prompts = _changes(calls, _first_step(name, other))
    negatives = _changes(calls, _first_step(name, worse))
    sample = sorted(_changed(calls[0], _first_step(name, seed)[0]), key=str)
    batch = _batch(calls[0], sample)
    listed = bool(sample) and isinstance(sample[0][-1], int)
    roles = [_roles(batch, listed, *each) for each in zip(prompts, negatives, strict=True)]
    conditional, row = conditional_row(roles)
    call = calls[conditional]
    return {
        "class": type(model).__name__,
        "patches": {key: value for key, value in model.config.items() if "patch" in key},
        "forward": list(inspect.signature(model.forward).parameters),
        "arguments": {key: described(value) for key, value in call.arguments.items()},
        "rows_of_first_step": roles,
        "prompt_arguments": sorted({written(path) for each in prompts for path in each}),
        "negative_arguments": sorted({written(path) for each in negatives for path in each}),
        "sample_arguments": [written(path) for path in sample],
        "masks": [key for key, value in call.arguments.items() if "mask" in key and value is not None],
        "queries_x_keys": _distinct([dict(each.attention) for each in run.calls if each.denoiser == name]),
        "attention": attention_facts(model, call.arguments),
        "text_places": {
            written(path): text_places(model, call.arguments, path, batch=batch, row=row)
            for path in sorted(prompts[conditional], key=str)
            if "mask" not in str(path[0])
        },
        "image_places": {}
        if _convolves(model)
        else {written(path): image_places(model, call.arguments, path) for path in sample[:1]},
    }


def conditional_row(roles: list[list[str]]) -> tuple[int, int]:
    """Which call, and which row of its batch, depends on the prompt alone; the very first where none does."""
    found = ((call, rows.index("prompt")) for call, rows in enumerate(roles) if "prompt" in rows)
    return next(found, (0, 0))


def _distinct(items: list[Any]) -> list[Any]:
    """What differs among the calls of one run, in the order in which it first came."""
    return [item for index, item in enumerate(items) if item not in items[:index]]


def _first_step(name: str, run: Run) -> list[Call]:
    """The calls of one denoiser that come before the first scheduler step after its first call."""
    own = [call for call in run.calls if call.denoiser == name]
    return [call for call in own if call.steps_before == own[0].steps_before]


def _changed(one: Call, two: Call) -> set[Path]:
    """The tensors that differ between two calls; other shapes count as different."""
    left, right = leaves(one.arguments), leaves(two.arguments)
    return {path for path in left if path not in right or not equal(left[path], right[path])}


def _changes(calls: list[Call], others: list[Call]) -> list[dict[Path, torch.Tensor]]:
    """For every call, the tensors that differ, with where they do; other shapes count as different throughout."""
    return [
        {path: _difference(one, two, path) for path in _changed(one, two)}
        for one, two in zip(calls, others, strict=True)
    ]


def _difference(one: Call, two: Call, path: Path) -> torch.Tensor:
    left, right = leaves(one.arguments)[path], leaves(two.arguments).get(path)
    if right is None or left.shape != right.shape:
        return torch.ones_like(left, dtype=torch.bool)
    return left != right


def _batch(call: Call, sample: list[Path]) -> int:
    """The number of rows in the batch, which may come as a list."""
    if not sample:
        return 1
    given = call.arguments[sample[0][0]]
    return len(given)


def _roles(batch: int, listed: bool, prompt: dict[Path, torch.Tensor], negative: dict[Path, torch.Tensor]) -> list[str]:
    """What each row of the batch depends on: `prompt`, `negative`, `both` or `neither`.

    Args:
        listed: whether the batch comes as a list of its rows.
    """
    names = {(True, False): "prompt", (False, True): "negative", (True, True): "both", (False, False): "neither"}
    return [names[_touched(prompt, batch, listed, row), _touched(negative, batch, listed, row)] for row in range(batch)]


def _touched(changes: dict[Path, torch.Tensor], batch: int, listed: bool, row: int) -> bool:
    for path, where in changes.items():
        if listed:
            where = where if path[-1] == row else where.new_zeros(1)
        elif (axis := batch_axis(where.float(), batch)) is not None:
            where = where.select(axis, row)
        if where.any():
            return True
    return False


def _convolves(model: torch.nn.Module) -> bool:
    return "UNet" in type(model).__name__


def attention_facts(model: torch.nn.Module, arguments: dict[str, Any]) -> dict[str, Any]:
    """The layers with processors, by class, and the attention calls that one forward call makes."""
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "processor")}
    calls = attention_calls(model, arguments)
    made = Counter(call.layer for call in calls)
    kinds: dict[str, dict[str, Any]] = {}
    for name, module in layers.items():
        processor = type(module.processor)
        kind = kinds.setdefault(
            processor.__name__,
            {
                "derivable": why_not(processor) or True,
                "layers": 0,
                "attention_classes": [],
                "calls_per_layer": [],
                "set_processor": True,
            },
        )
        kind["layers"] += 1
        kind["attention_classes"] = sorted({*kind["attention_classes"], type(module).__name__})
        kind["calls_per_layer"] = sorted({*kind["calls_per_layer"], made[name]})
        kind["set_processor"] &= hasattr(module, "set_processor")
    return {
        "processors": kinds,
        "attn_processors": hasattr(model, "attn_processors"),
        "calls": len(calls),
        "calls_without_processor": dict(Counter(call.module for call in calls if not call.layer)),
    }
