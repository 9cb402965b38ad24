"""The formulas of the embedding methods, on plain tensors.

Embeddings z are `[window, row, channel]` of one text encoder and one prompt, weights w `[window, row]` in their dtype,
1 on every row that holds no token of the prompt. Results have that dtype too.
"""

import math

import torch

from promptattn.telling import tell

__all__ = ["blended", "from_empty", "hiding", "lifted", "mixed", "scaled"]

# A mean restored by more than this leaves nothing of the prompt in the image.
_STRANGE_SCALE = 10.0

# compel's: the tangent of a right angle is too much.
_LEAST = 1e-5


def scaled(z: torch.Tensor, w: torch.Tensor, *, restore_mean: bool) -> torch.Tensor:
    """Every row times its weight, and each window's mean restored.

    z' = w z,    z'' = z' mean(z) / mean(z'), means over a window's rows and channels.

    Formula: AUTOMATIC1111/stable-diffusion-webui, modules/sd_emphasis.py, "Original"; without the second step its "No
    norm". Where one of the means is 0 but for rounding, the quotient is 0, infinite or noise, and so is the original's
    result; here the mean is not restored then, and a warning says so. Another says where the quotient is negative
    (which turns every row round) or beyond a factor of 10: the result is the original's all the same.
    """
    result = z * w[..., None]
    if not restore_mean:
        return result
    scale = torch.where((w == 1).all(-1), 1.0, _restoring(z, result))
    _warn_of(scale)
    return result * scale.nan_to_num(1.0)[..., None, None]


def _restoring(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """mean(before) / mean(after) of each window; NaN where one of them cannot be told from 0."""
    means, sizes = [z.mean((-2, -1)) for z in (before, after)], [z.abs().mean((-2, -1)) for z in (before, after)]
    rounding = torch.finfo(torch.float32).eps  # the encoder's own, in whatever dtype is computed here
    told = [mean.abs() > rounding * size for mean, size in zip(means, sizes, strict=True)]
    return torch.where(told[0] & told[1], means[0] / means[1], torch.nan)


def _warn_of(scale: torch.Tensor) -> None:
    if scale.isnan().any():
        tell(
            "a1111: the mean of a window of the text embedding is 0, weighted or not, and cannot be restored; that"
            " window is weighted without it (restore_mean=False does so everywhere)."
        )
    strange = (scale < 1 / _STRANGE_SCALE) | (scale > _STRANGE_SCALE)
    if strange.any():
        tell(
            f"a1111: restoring the mean multiplies a whole window of the text embedding by {scale[strange][0]:.3g}; the"
            " image will hardly show the prompt. Use weights nearer to 1, or restore_mean=False."
        )


def from_empty(z: torch.Tensor, empty: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Rows of weight other than 1 moved along the line through the empty prompt's row of the same place.

    z' = w (z - z_empty) + z_empty; rows of weight 1 come back to the bit.

    empty: one more `[window, row, channel]`, or `[reading, window, row, channel]` where z has as many readings.
    Formula: comfyanonymous/ComfyUI, comfy/sd1_clip.py; damian0815/compel, embeddings_provider.py, has the same.
    """
    weight = w[..., None]
    return torch.where(weight == 1, z, (z - empty) * weight + empty)


def hiding(weight: float) -> float:
    """How much a copy of the prompt without the words of this weight, below 1, counts beside the prompt itself.

    tan((1 - w) pi / 2): 0 at w = 1, as much as the prompt at w = 0.5, without bound towards 0, where w is held at 1e-5.
    Formula: damian0815/compel, embeddings_provider.py (2.5.1).
    """
    return math.tan((1 - max(_LEAST, weight)) * math.pi / 2)


def blended(z: torch.Tensor, copies: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Copies of a prompt blended into it: z' = (z + sum_k s_k z_k) / (1 + sum_k s_k), window by window.

    copies: `[copy, window, row, channel]`; share: s, `[copy, window]`.
    Formula: damian0815/compel, embeddings_provider.py (2.5.1), `apply_embedding_weights`.
    """
    total = 1 + share.sum(0)
    return (z + (copies * share[..., None, None]).sum(0)) / total[..., None, None]


def mixed(z: torch.Tensor, copies: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """A prompt and copies of it in which more and more words are masked, mixed so that each word keeps its weight.

    With levels w_1 < ... < w_n < 1 and in copy k all words of weight w_k or less masked,

        z' = w_1 z + (w_2 - w_1) z_1 + ... + (1 - w_n) z_n

    z: any shape; copies: `[copy, *shape]`; levels: `[copy]`.
    Formula: BlenderNeko/ComfyUI_ADV_CLIP_emb, adv_encode.py, `down_weight`.
    """
    if not len(levels):
        return z
    steps = torch.cat([levels, levels.new_ones(1)]).diff()
    return levels[0] * z + torch.einsum("k,k...->...", steps, copies)


def lifted(z: torch.Tensor, copies: torch.Tensor, excess: torch.Tensor) -> torch.Tensor:
    """What rows of words above 1 are moved by, away from their rows where the word is masked.

    sum_k e_k (z - z_k), e = w - 1 on the rows of word k, 0 on all others.

    copies: `[word, window, row, channel]`; excess: e, `[word, window, row]`.
    Formula: BlenderNeko/ComfyUI_ADV_CLIP_emb, adv_encode.py, `from_masked`.
    """
    return ((z - copies) * excess[..., None]).sum(0)
