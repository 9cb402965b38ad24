"""The formulas of the embedding methods, on plain tensors.

Embeddings are `[window, row, channel]` of one text encoder and one prompt, weights `[window, row]`, 1 on every row
that holds no token of the prompt. Results have the embedding's dtype, but are computed in at least float32. Rows that
a formula leaves alone come back to the bit.
"""

import warnings

import torch

from promptattn.errors import PromptAttnWarning

__all__ = ["from_empty", "scaled"]

# A mean restored by more than this leaves nothing of the prompt in the image; CLIP's own windows differ by a few per cent.
_STRANGE_SCALE = 10.0


def scaled(embedding: torch.Tensor, weight: torch.Tensor, *, restore_mean: bool) -> torch.Tensor:
    """Every row times its weight, and each window's mean restored.

    z' = w z,    z'' = z' mean(z) / mean(z'), means over a window's rows and channels.

    Formula: AUTOMATIC1111/stable-diffusion-webui, modules/sd_emphasis.py, "Original"; without the second step its "No
    norm". Where one of the means is 0 but for rounding, the quotient is 0, infinite or noise, and so is the original's
    result; here the mean is not restored then, and a warning says so. Another says where the quotient is negative
    (which turns every row round) or beyond a factor of 10: the result is the original's all the same.
    """
    exact = _exact(embedding)
    result = exact * weight[..., None].to(exact)
    if restore_mean:
        scale = _restoring(exact, result)
        scale = torch.where((weight == 1).all(-1).to(scale.device), 1.0, scale)
        _warn_of(scale)
        result = result * scale.nan_to_num(1.0)[..., None, None]
    return result.to(embedding)


def _restoring(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """mean(before) / mean(after) of each window; NaN where one of them cannot be told from 0."""
    means, sizes = [z.mean((-2, -1)) for z in (before, after)], [z.abs().mean((-2, -1)) for z in (before, after)]
    rounding = torch.finfo(before.dtype).eps
    told = [mean.abs() > rounding * size for mean, size in zip(means, sizes, strict=True)]
    return torch.where(told[0] & told[1], means[0] / means[1], torch.nan)


def _warn_of(scale: torch.Tensor) -> None:
    if scale.isnan().any():
        warnings.warn(
            "a1111: the mean of a window of the text embedding is 0, weighted or not, and cannot be restored; that"
            " window is weighted without it (restore_mean=False does so everywhere).",
            PromptAttnWarning,
            stacklevel=2,
        )
    strange = (scale < 1 / _STRANGE_SCALE) | (scale > _STRANGE_SCALE)
    if strange.any():
        warnings.warn(
            f"a1111: restoring the mean multiplies a whole window of the text embedding by {scale[strange][0]:.3g}; the"
            " image will hardly show the prompt. Use weights nearer to 1, or restore_mean=False.",
            PromptAttnWarning,
            stacklevel=2,
        )


def from_empty(embedding: torch.Tensor, empty: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Rows of weight other than 1 moved along the line through the empty prompt's row of the same place.

    z' = w (z - z_empty) + z_empty

    Formula: comfyanonymous/ComfyUI, comfy/sd1_clip.py; damian0815/compel, embeddings_provider.py, has the same.
    """
    exact, origin = _exact(embedding), _exact(empty)
    w = weight[..., None].to(exact)
    return torch.where(w == 1, exact, (exact - origin) * w + origin).to(embedding)


def _exact(embedding: torch.Tensor) -> torch.Tensor:
    return embedding.to(torch.promote_types(embedding.dtype, torch.float32))
