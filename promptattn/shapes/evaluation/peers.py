"""The same question put to other packages, at their own default settings, on the same pipeline and seeds.

They are optional: `pip install -e ".[bench]"` and then, because its pins forbid the diffusers that this project needs,
`pip install --no-deps daam==0.2.0 attention-map-diffusers==1.0.0`.
"""

import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from promptattn.errors import ConfigError
from promptattn.maps import resize

__all__ = ["PEERS", "Peer", "peer", "why_not"]

Floats = NDArray[np.float32]
Words = Sequence[tuple[str, int]]
"""Each word and its occurrence, counted from 0."""


class Peer(Protocol):
    """Another way to get maps of words: paints the prompt and gives image and maps at the image's resolution."""

    def __call__(
        self, pipe: Any, prompt: str, words: Words, seed: int, options: Mapping[str, Any]
    ) -> tuple[NDArray[np.uint8], Floats]: ...


def daam(
    pipe: Any, prompt: str, words: Words, seed: int, options: Mapping[str, Any]
) -> tuple[NDArray[np.uint8], Floats]:
    """DAAM (Tang et al. 2022): the mean over heads, steps and layers on the way down and up.

    It is written for 77 text tokens and latents of 64 x 64, so it is told the numbers that this pipeline has; with its
    own it would record nothing. Maps are those of `expand_as(absolute=True)`: the same as its normalised ones but for
    scale and floor, to which neither overlap nor ranking nor pointing is sensitive.
    """
    places = int(pipe.unet.config.sample_size) ** 2
    with tempfile.TemporaryDirectory() as folder:
        tracer = import_module("daam").trace(pipe, data_dir=folder)
        tracer.latent_hw = places
        for hook in tracer.module:
            if hasattr(hook, "context_size"):
                hook.context_size, hook.latent_hw = pipe.tokenizer.model_max_length, places
        with tracer:
            image = _paint(pipe, prompt, seed, options)
            heat = tracer.compute_global_heat_map()
        positions = _positions(pipe, prompt, words)
        maps = [
            heat.compute_word_heat_map(word, word_idx=place[0] if len(place) == 1 else None)
            for (word, _), place in zip(words, positions, strict=True)
        ]
        found = [each.expand_as(image, absolute=True).numpy() for each in maps]
    return np.asarray(image), np.stack(found).astype(np.float32)


def attention_maps(
    pipe: Any, prompt: str, words: Words, seed: int, options: Mapping[str, Any], timesteps: str = "last"
) -> tuple[NDArray[np.uint8], Floats]:
    """attention-map-diffusers: the mean over heads and all layers, by its default of the last step alone.

    Its aggregate is what its visualiser draws; it has no public name in version 1.0.0.
    """
    package = import_module("attention_map_diffusers")
    with package.AttentionCapture(pipe, timesteps=timesteps) as capture:
        image = _paint(pipe, prompt, seed, options)
    record, data, _ = package.visualization._aggregate_compatible(capture.compute().records, None, 1)
    columns = data[0].float().numpy().reshape(record.q_shape.height, record.q_shape.width, -1)
    # One place further: the start marker comes first.
    parts = [columns[..., [1 + p for p in place]].sum(-1) for place in _positions(pipe, prompt, words)]
    return np.asarray(image), resize(np.stack(parts), (image.height, image.width))


def attention_maps_all_steps(
    pipe: Any, prompt: str, words: Words, seed: int, options: Mapping[str, Any]
) -> tuple[NDArray[np.uint8], Floats]:
    """attention-map-diffusers with `timesteps="all"`."""
    return attention_maps(pipe, prompt, words, seed, options, timesteps="all")


PEERS: dict[str, tuple[str, Peer]] = {
    "daam": ("daam", daam),
    "attention-map-diffusers": ("attention_map_diffusers", attention_maps),
    "attention-map-diffusers, all steps": ("attention_map_diffusers", attention_maps_all_steps),
}
"""Name -> the module that must be importable, and what asks it."""


def why_not(name: str, pipe: Any) -> str | None:
    """Why a peer cannot be asked about this pipeline, or None when it can."""
    module, _ = PEERS[name]
    if find_spec(module) is None:
        return f"{module} is not installed"
    if not hasattr(pipe, "unet"):
        return "only pipelines with a UNet are compared: it reads text as cross-attention"
    return None


def peer(name: str) -> Peer:
    """Raises `ConfigError` when there is none of that name."""
    if name not in PEERS:
        raise ConfigError(f"There is no peer {name!r}; choose one of {', '.join(PEERS)}.")
    return PEERS[name][1]


def _paint(pipe: Any, prompt: str, seed: int, options: Mapping[str, Any]) -> Any:
    import torch

    return pipe(prompt, generator=torch.Generator().manual_seed(seed), **options).images[0].convert("RGB")


def _positions(pipe: Any, prompt: str, words: Words) -> list[list[int]]:
    """The tokens of each word, counted from 0 after the start marker."""
    from promptattn.prompt import find, plan

    known = plan(pipe, prompt).encoders[0].words
    return [[token for word in find(known, *text) for token in word.tokens] for text in words]
