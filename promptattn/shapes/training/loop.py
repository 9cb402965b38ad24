"""One training loop for every stage: resumable after a kill, averaged weights, a loss log.

The batch of a step depends on the seed, the step and the process alone, so a resumed run continues as if it had never
stopped. Several processes (`accelerate launch`, `torchrun`) each take a batch of their own and average gradients.
"""

import json
import math
import os
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator

__all__ = ["StageSettings", "atomic_save", "train_stage"]


@dataclass(frozen=True)
class StageSettings:
    """How long and how fast one stage trains; the learning rate warms up linearly and falls as a cosine to 2 %."""

    name: str
    steps: int
    lr: float
    seed: int = 0
    warmup: int = 50
    ema: float = 0.999
    weight_decay: float = 0.01
    save_every: int = 100
    log_every: int = 20
    compiled: bool = False


Model = TypeVar("Model", bound=torch.nn.Module)

Loss = Callable[[torch.nn.Module, int, np.random.Generator], dict[str, torch.Tensor]]
"""(model, step, generator of this step) -> named losses; "loss" is the one that is minimised."""


def train_stage(
    accelerator: Accelerator,
    model: Model,
    loss: Loss,
    settings: StageSettings,
    folder: Path,
) -> Model:
    """Train `model` to the last step, from the stage's checkpoint in `folder` if there is one; returns its average.

    Writes `<name>.pt` (atomically, every `save_every` steps) and appends to `<name>.jsonl`.
    """
    checkpoint, log = folder / f"{settings.name}.pt", folder / f"{settings.name}.jsonl"
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )
    averaged, start = deepcopy(model).requires_grad_(False), 0
    if settings.compiled:
        # The method, not the module: the state dict keeps its names, and processes may wrap the module.
        model.forward = torch.compile(model.forward)
    bare = model
    model, optimizer = accelerator.prepare(model, optimizer)
    if checkpoint.exists():
        start = _load(checkpoint, bare, averaged, optimizer)
    averaged.to(accelerator.device)
    model.train()
    recent: list[dict[str, float]] = []
    began = time.perf_counter()
    for step in range(start, settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * _schedule(step, settings)
        place = [settings.seed, step, accelerator.process_index]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        with accelerator.autocast():
            losses = loss(model, step, np.random.default_rng(place))
        accelerator.backward(losses["loss"])
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        _average(averaged, bare, min(settings.ema, (1 + step) / (10 + step)))
        recent.append({name: float(value.detach()) for name, value in losses.items()})
        done = step + 1
        if not accelerator.is_main_process:
            continue
        if done % settings.log_every == 0 or done == settings.steps:
            means = {name: round(float(np.mean([r[name] for r in recent])), 6) for name in recent[0]}
            _log(log, {"step": done, **means, "seconds": round((time.perf_counter() - began) / len(recent), 4)})
            recent, began = [], time.perf_counter()
        if done % settings.save_every == 0 or done == settings.steps:
            state = {"step": done, "model": bare.state_dict(), "ema": averaged.state_dict()}
            atomic_save({**state, "optimizer": optimizer.state_dict()}, checkpoint)
    accelerator.wait_for_everyone()
    return averaged.eval()


def atomic_save(state: Any, path: Path) -> None:
    """torch.save that leaves either the old file or the whole new one."""
    partial = path.with_name(path.name + ".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def _load(checkpoint: Path, model: torch.nn.Module, averaged: torch.nn.Module, optimizer: Any) -> int:
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    averaged.load_state_dict(state["ema"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _schedule(step: int, settings: StageSettings) -> float:
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    progress = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@torch.no_grad()
def _average(averaged: torch.nn.Module, model: torch.nn.Module, decay: float) -> None:
    ours: list[torch.Tensor] = [p for p in averaged.parameters() if p.is_floating_point()]
    theirs = [p.to(o.dtype) for o, p in zip(ours, model.parameters(), strict=True)]
    torch._foreach_lerp_(ours, theirs, 1 - decay)


def _log(path: Path, row: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
