"""What a run will take, told when it has hardly begun: memory counted before its first step, time as measured."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch

from promptattn.memory import free, readable
from promptattn.processors.layouts import layout_of
from promptattn.processors.opaque import untraced
from promptattn.run.attend import AttentionRun
from promptattn.run.cost.counting import peak_bytes, twin_of
from promptattn.run.served import served
from promptattn.telling import tell

__all__ = ["SHORT_OF_MEMORY", "Estimate", "Estimator", "first_of", "parameter_bytes"]

SHORT_OF_MEMORY = "this run needs about"
"""What the warning of too little memory begins with: it is about the machine at that moment, not about the prompt."""


@dataclass(frozen=True)
class Estimate:
    """Memory and time of one or several calls of a pipeline.

    Attributes:
        device: where it runs.
        parameters: bytes of everything that is loaded, exactly.
        activations: bytes of what the denoiser or the image decoder holds at its worst, counted; None where their code
            cannot be followed without running it. What a kernel needs beside its inputs and outputs is not in it.
        maps: bytes of what is recorded, exactly.
        free: bytes that could still be had when everything was loaded.
        steps: of one call.
        seconds_per_step: as measured.
        calls: how many calls of this kind there are.
    """

    device: str
    parameters: int
    activations: int | None
    maps: int
    free: int
    steps: int
    seconds_per_step: float
    calls: int = 1

    @property
    def memory(self) -> int:
        """Bytes in all."""
        return self.parameters + (self.activations or 0) + self.maps

    @property
    def seconds(self) -> float:
        """Seconds of all steps of all calls; decoding and writing images comes on top."""
        return self.seconds_per_step * self.steps * self.calls

    def as_dict(self) -> dict[str, Any]:
        """As plain values: bytes and seconds."""
        return {
            "device": self.device,
            "memory_bytes": self.memory,
            "parameters_bytes": self.parameters,
            "activations_bytes": self.activations,
            "maps_bytes": self.maps,
            "free_bytes": self.free,
            "seconds": round(self.seconds, 3),
            "seconds_per_step": round(self.seconds_per_step, 4),
            "steps": self.steps,
            "calls": self.calls,
        }

    def __str__(self) -> str:
        """One line for people."""
        held = "activations unknown" if self.activations is None else f"{readable(self.activations)} activations"
        maps = f", {readable(self.maps)} maps" if self.maps else ""
        calls = f"{self.calls} x " if self.calls > 1 else ""
        steps = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        return (
            f"about {_duration(self.seconds)} ({calls}{steps} of {self.seconds_per_step:.2g} s) and"
            f" {readable(self.memory)} on {self.device}: {readable(self.parameters)} parameters, {held}{maps}"
        )


def parameter_bytes(pipe: Any) -> int:
    """Bytes of all parameters and buffers of a pipeline's parts, those that several share counted once."""
    modules = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    tensors = {id(each): each for part in modules for each in (*part.parameters(), *part.buffers())}
    return sum(each.numel() * each.element_size() for each in tensors.values())


class Estimator:
    """Estimates the pipeline call that is made in its context, and warns before the first step of too little memory.

    Args:
        pipe: the pipeline; `run` is the :class:`promptattn.AttentionRun` in it.
        images: how many the call makes.
        tell_of: called once, after the second step (the first is not typical) or after the only one.
    """

    def __init__(self, pipe: Any, run: AttentionRun, images: int, tell_of: Callable[[Estimate], None]) -> None:
        self._pipe, self._run, self._images, self._tell_of = pipe, run, images, tell_of
        self._denoiser, _ = served(pipe)
        # Not the denoiser's own, which is elsewhere, or nowhere, while it is offloaded.
        self._device = str(pipe._execution_device)
        self._free = 0
        self._activations: int | None = None
        self._began = 0.0
        self._handle: Any = None

    def __enter__(self) -> Self:
        self._handle = self._denoiser.register_forward_pre_hook(untraced(self._first_call), with_kwargs=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()

    def step(self, done: int, total: int) -> None:
        """To be called after each step."""
        now = time.monotonic()
        if done == min(2, total):
            self._tell_of(
                Estimate(
                    device=self._device,
                    parameters=parameter_bytes(self._pipe),
                    activations=self._activations,
                    maps=self._run.recorded_bytes(),
                    free=self._free,
                    steps=total,
                    seconds_per_step=now - self._began,
                )
            )
        self._began = now

    def _first_call(self, denoiser: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._handle.remove()
        self._free = free(self._device)
        self._activations = needed = _activations(self._pipe, denoiser, self._images, args, kwargs)
        if needed is not None and needed > self._free:
            tell(
                f"{SHORT_OF_MEMORY} {readable(needed)} more memory, and {readable(self._free)} of {self._device} is"
                " free; if it fails, choose a smaller --height and --width, or fewer images at once (--images,"
                " --batch)."
            )
        self._began = time.monotonic()


def first_of(tell_of: Callable[[Estimate], None] | None, call: int, calls: int) -> Callable[[Estimate], None] | None:
    """`tell_of` for the first of several calls, which then stands for all; None for the others."""
    if tell_of is None or call:
        return None
    return lambda estimate: tell_of(replace(estimate, calls=calls))


def _activations(
    pipe: Any, denoiser: torch.nn.Module, images: int, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> int | None:
    """The most that the denoiser, and after it the image decoder, hold beside their parameters."""
    try:
        size = layout_of(denoiser).read(denoiser, args, kwargs).size
        counted = peak_bytes(twin_of(denoiser), *args, **kwargs)
        vae = getattr(pipe, "vae", None)
        if vae is None:
            return counted
        twin = twin_of(vae)
        for option in ("use_slicing", "use_tiling"):
            setattr(twin, option, getattr(vae, option, False))
        latents = torch.empty(images, int(vae.config.latent_channels), *size, dtype=vae.dtype, device="meta")
        return max(counted, peak_bytes(twin.decode, latents))
    # Whatever a model's code makes of tensors without values; then it is not known, and said so.
    except Exception:
        return None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
