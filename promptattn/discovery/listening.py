"""What a pipeline hands its denoiser, listened to and stopped before anything is computed."""

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["PROMPTS", "Unknown", "first_call", "left_as_it_was"]

PROMPTS = ("a photo of a red cat and a gray mouse", "a photo of a gray mouse and a red cat", "a cat")
"""A prompt, one of the same tokens in another order, and a shorter one."""

_SIDES = (16, 24)
"""(height, width) of the latents: not square, so that rows and columns can be told apart."""


class Unknown(Exception):
    """What cannot be told about a denoiser, and why: a clause."""


class _Heard(Exception):
    """The denoiser was called; there is nothing more to listen to."""


def first_call(pipe: Any, denoiser: torch.nn.Module, prompt: str, *, seed: int = 0) -> dict[str, Any]:
    """The arguments, by name, of the first call of the denoiser; the pipeline is left as it was.

    Raises:
        Unknown: when the pipeline does not come so far with nothing but a prompt.
    """
    heard: dict[str, Any] = {}

    def listen(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        heard.update(inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments)
        raise _Heard

    handle = denoiser.register_forward_pre_hook(listen, with_kwargs=True)
    said: list[Exception] = []
    try:
        for options in _options(pipe, prompt, seed):
            try:
                with left_as_it_was(pipe), torch.no_grad():
                    pipe(**options)
            except _Heard:
                return heard
            except Exception as error:
                said.append(error)
    finally:
        handle.remove()
    why = f"called with a prompt it said: {type(said[0]).__name__}: {said[0]}" if said else "it never called it"
    raise Unknown(
        f"{type(pipe).__name__} could not be listened to: {why}. Where it needs more than a prompt, attend a"
        " text-to-image pipeline with the same denoiser once before"
    ) from (said[0] if said else None)


def _options(pipe: Any, prompt: str, seed: int) -> Iterator[dict[str, Any]]:
    """What to call the pipeline with: a prompt alone, and then with pictures, for pipelines that go by one."""
    takes = inspect.signature(pipe.__call__).parameters
    for height, width in _sizes(pipe):
        wanted = dict(
            prompt=prompt,
            height=height,
            width=width,
            num_inference_steps=2,
            generator=torch.Generator().manual_seed(seed),
            output_type="latent",
            # PixArt and its like would take the nearest size they were trained on.
            use_resolution_binning=False,
        )
        picture = torch.linspace(0, 1, 3 * height * width).view(1, 3, height, width)
        pictures = dict(image=picture, control_image=picture, mask_image=picture[:, :1].round(), strength=1.0)
        for given in (wanted, wanted | pictures):
            yield {name: value for name, value in given.items() if name in takes}


def _sizes(pipe: Any) -> Iterator[tuple[int, int]]:
    """(height, width) in pixels, and where that is none for the pipeline, in whole multiples of 64."""
    scale = getattr(pipe, "vae_scale_factor", None) or 8
    height, width = (scale * side for side in _SIDES)
    yield height, width
    yield 64 * math.ceil(height / 64), 64 * (math.ceil(height / 64) + 1)


@contextmanager
def left_as_it_was(pipe: Any) -> Iterator[None]:
    """Attributes of the pipeline and its scheduler, the random state, and which models are on the device."""
    scheduler = getattr(pipe, "scheduler", None)
    restores: list[Callable[[], None]] = [_restoring(each) for each in (pipe, scheduler) if each is not None]
    pipe.set_progress_bar_config(**getattr(pipe, "_progress_bar_config", {}) | {"disable": True})
    try:
        with torch.random.fork_rng():
            yield
    finally:
        pipe.maybe_free_model_hooks()
        for restore in restores:
            restore()


def _restoring(thing: Any) -> Callable[[], None]:
    before = dict(vars(thing))

    def restore() -> None:
        vars(thing).clear()
        vars(thing).update(before)

    return restore
