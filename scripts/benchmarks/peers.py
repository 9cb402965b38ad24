"""Other packages that keep maps of a whole generation, called as their own examples call them.

They are optional: `pip install -e ".[bench]"` and then, because what they pin is not the diffusers that this project
needs, `pip install --no-deps daam==0.2.0 attention-map-diffusers==1.0.0`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.models import Subject

__all__ = ["peers"]

Painted = tuple[torch.Tensor, Any]


def peers(subject: Subject, steps: int) -> dict[str, Callable[[], Painted]]:
    """Those that are installed and take this pipeline, by name: each paints the prompt and computes its maps."""
    found: dict[str, Callable[[], Painted]] = {}
    if find_spec("daam") and subject.kind == "unet":
        found["daam"] = lambda: _daam(subject, steps)
    if find_spec("attention_map_diffusers"):
        found["attention-map-diffusers, all steps"] = lambda: _attention_maps(subject, steps)
    return found


def _daam(subject: Subject, steps: int) -> Painted:
    """Tang et al. 2022. It knows latents of 64 x 64 and 96 x 96, so for others it is told how many places there are."""
    places = (subject.options["height"] // 8) * (subject.options["width"] // 8)
    with tempfile.TemporaryDirectory() as folder:
        tracer = import_module("daam").trace(subject.pipe, data_dir=folder)
        tracer.latent_hw = places
        for hook in tracer.module:
            if hasattr(hook, "latent_hw"):
                hook.latent_hw = places
        with tracer:
            latents = subject.plain(steps)
            return latents, tracer.compute_global_heat_map()


def _attention_maps(subject: Subject, steps: int) -> Painted:
    """attention-map-diffusers, which keeps queries and keys, and computes the maps from them afterwards."""
    with import_module("attention_map_diffusers").AttentionCapture(subject.pipe, timesteps="all") as capture:
        latents = subject.plain(steps)
        return latents, capture.compute()
