"""Attention among the tokens of each text encoder, out of a denoiser's joint attention."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from promptattn.maps.records import PromptInfo, TextAttention

__all__ = ["joint_text_attention"]


def joint_text_attention(
    mass: NDArray[np.float32], prompts: Sequence[PromptInfo], prompt_index: Sequence[int], denoiser: str
) -> Iterator[TextAttention]:
    """One matrix for each image and each encoder that reads its prompt.

    What goes to the image, to other encoders' tokens and to padding is missing from the sums.

    mass: `[image, layer, query column, key column]`; rows of columns that are no tokens are not looked at.
    prompt_index: for each image, which of the prompts it was made from.
    """
    for image, prompt in enumerate(prompt_index):
        infos = prompts[prompt].columns
        for reading in prompts[prompt].readings:
            kept = [at for at, info in enumerate(infos) if info.kind == "token" and info.encoder == reading.encoder]
            matrix = np.ascontiguousarray(mass[image][:, kept][:, :, kept])
            yield TextAttention(f"{denoiser} {reading.encoder}", tuple(infos[at] for at in kept), matrix, prompt, image)
