"""What the trainings of both denoisers share: a batch drawn from cached latents, its noise levels and its error."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from transformers import CLIPTokenizer

from promptattn.shapes.training.text import WINDOW

__all__ = ["Batch", "LatentSet", "draw_batch", "empty_ids", "logit_normal", "object_error"]

_EMPTY_SHARE = 0.1


@dataclass(frozen=True)
class LatentSet:
    """latents float16 [scene, 4, 16, 16], scaled; ids int16 [scene, caption, WINDOW]; objects bool [scene, 16, 16]."""

    latents: torch.Tensor
    ids: torch.Tensor
    objects: torch.Tensor


class Batch(NamedTuple):
    """latents and noise float32 [batch, 4, 16, 16]; ids int64 [batch, WINDOW]; inside float32 [batch, 16, 16], 1 in the
    objects' cells."""

    latents: torch.Tensor
    noise: torch.Tensor
    ids: torch.Tensor
    inside: torch.Tensor


def empty_ids(tokenizer: CLIPTokenizer) -> torch.Tensor:
    """The empty prompt's ids, int16 [WINDOW]."""
    tokens = tokenizer("", padding="max_length", max_length=WINDOW, return_tensors="pt")
    return tokens.input_ids[0].to(torch.int16)


def draw_batch(
    data: LatentSet, rng: np.random.Generator, size: int, empty: torch.Tensor, device: torch.device
) -> Batch:
    """Scenes, one of each one's captions, and noise; every tenth caption is `empty`, the ids of the empty prompt, for
    classifier-free guidance (Ho & Salimans 2022)."""
    rows = torch.from_numpy(rng.integers(len(data.latents), size=size))
    latents = data.latents[rows].float().to(device)
    ids = data.ids[rows, torch.from_numpy(rng.integers(data.ids.shape[1], size=size))]
    ids[torch.from_numpy(rng.random(size) < _EMPTY_SHARE)] = empty
    noise = torch.from_numpy(rng.standard_normal(latents.shape, np.float32)).to(device)
    return Batch(latents, noise, ids.long().to(device), data.objects[rows].float().to(device))


def logit_normal(rng: np.random.Generator, count: int, mean: float, uniform: float) -> np.ndarray:
    """Noise levels in (0, 1), float64 [count], logit-normal with variance 1 (Esser 2024); a share of `uniform` ones."""
    normal = 1 / (1 + np.exp(-(mean + rng.standard_normal(count))))
    return np.where(rng.random(count) < uniform, rng.random(count), normal)


def object_error(error: torch.Tensor, inside: torch.Tensor, weight: float) -> dict[str, torch.Tensor]:
    """The loss, a mean that counts the objects' cells 1 + `weight` times; the plain mean; and that of those cells.

    error, inside: float32 [batch, 16, 16].
    """
    weighted = (error * (1 + weight * inside)).mean() / (1 + weight * inside.mean())
    return {"loss": weighted, "error": error.mean(), "inside": (error * inside).sum() / inside.sum()}
