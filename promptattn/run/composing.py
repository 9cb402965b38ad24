"""AND: several predictions of the denoiser in one, as if the pipeline had guided each and added what they gained."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

__all__ = ["composed", "prediction", "with_prediction"]


def composed(predictions: Sequence[torch.Tensor], weights: torch.Tensor, unguided: torch.Tensor | None) -> torch.Tensor:
    """The prediction to be guided, where prompts are joined by AND.

        eps = eps_0 + sum_i w_i (eps_i - eps_0)

    so that guidance of strength g, which pipelines apply afterwards, gives eps_0 + g sum_i w_i (eps_i - eps_0): the
    conjunction of Liu et al. 2022 (Compositional Visual Generation with Composable Diffusion Models, equation 11) with
    the weights of A1111 (`combine_denoised`). It is linear, so it holds for noise, velocity and sample predictions.

    Args:
        predictions: of each part `[image, ...]`.
        weights: float32 `[part, image]`.
        unguided: eps_0 `[image, ...]`, the prediction of the negative prompt; None where a model is never given one.
            Then the weights are divided by their sum, a mean of the predictions.

    Returns:
        As the predictions, whose dtype it has; it is computed in at least float32.
    """
    dtype = torch.promote_types(predictions[0].dtype, torch.float32)
    if unguided is None:
        weights = weights / weights.sum(0)
    total = torch.zeros_like(predictions[0], dtype=dtype) if unguided is None else unguided.to(dtype)
    for part, row in zip(predictions, weights, strict=True):
        gain = part.to(dtype) if unguided is None else part.to(dtype) - unguided.to(dtype)
        total = total + row.to(dtype).view(-1, *[1] * (part.ndim - 1)) * gain
    return total.to(predictions[0].dtype)


def prediction(output: Any) -> torch.Tensor:
    """The prediction in what a denoiser returns: the first of a tuple or of a model output."""
    first = output if isinstance(output, torch.Tensor) else output[0]
    assert isinstance(first, torch.Tensor)
    return first


def with_prediction(output: Any, changed: torch.Tensor) -> Any:
    """What a denoiser returned, of the same type, with another prediction."""
    if isinstance(output, torch.Tensor):
        return changed
    if isinstance(output, Mapping):  # diffusers' model outputs
        return type(output)(**{**output, next(iter(output)): changed})
    return (changed, *output[1:])
