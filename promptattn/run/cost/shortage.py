"""Too little memory, told as one sentence that names the options to change."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from promptattn.errors import ConfigError
from promptattn.maps.capture import Capture

__all__ = ["is_shortage", "memory_told"]


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory has run out: Python's own, the GPU's, or that of torch on the CPU or MPS."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in ("allocate memory", "out of memory"))


@contextmanager
def memory_told(pipe: Any, images: int, capture: Capture | bool) -> Iterator[None]:
    """Raise ConfigError with advice where making `images` at once with `pipe` takes more memory than there is."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        count = "this image" if images == 1 else f"{images} images at once"
        raise ConfigError(
            f"{pipe.device} has not enough memory for {count}; {_listed(_advice(pipe, images, capture))}."
        ) from error


def _advice(pipe: Any, images: int, capture: Capture | bool) -> Iterator[str]:
    """What would take less, the most helpful first."""
    if images > 1:
        yield "make fewer at once (--images, --batch)"
    yield "make them smaller (--height, --width)" if images > 1 else "make it smaller (--height, --width)"
    chosen = capture if isinstance(capture, Capture) else Capture()
    if capture and (chosen.per_step or chosen.per_head):
        yield "keep steps and heads together (capture.per_step, capture.per_head)"
    if capture:
        yield "record less (capture.words, capture.layers, or --no-maps)"
    if pipe.dtype == torch.float32:
        yield "use a smaller number format (--dtype bfloat16)"
    if hasattr(pipe, "vae") and pipe.device.type != "cpu":
        yield "or in Python call pipe.enable_model_cpu_offload() and pipe.vae.enable_tiling() first"


def _listed(parts: Iterator[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)}, or {last.removeprefix('or ')}" if first else last
