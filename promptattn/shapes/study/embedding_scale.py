"""The reference: A1111's emphasis, which scales the embedding of a token and restores the mean of all.

Formula from AUTOMATIC1111/stable-diffusion-webui, modules/sd_emphasis.py ("Original"): with z `[token, channel]` the
text embedding of one window and m `[token]` the weights,

    z' = m z,    z'' = z' mean(z) / mean(z')

with means over all of a window's tokens and channels, padding included. Each text encoder's embedding is scaled by
itself, before the pipeline joins them. The pooled embedding stays.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from promptattn.processors.segments import segments_of
from promptattn.prompt import EncoderPlan, TokenPlan

__all__ = ["emphasise", "scale_embeddings"]


def emphasise(embedding: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A1111's formula on windows: embedding `[..., token, channel]`, weight `[..., token]`."""
    scaled = embedding * weight[..., None].to(embedding)
    return scaled * (embedding.mean((-2, -1), keepdim=True) / scaled.mean((-2, -1), keepdim=True))


def scale_embeddings(pipe: Any, plans: Sequence[TokenPlan], embeds: torch.Tensor) -> torch.Tensor:
    """`embeds` `[prompt, row, channel]`, encoded from the clean prompts, with every plan's weights put on them."""
    result = embeds.clone()
    for index, plan in enumerate(plans):
        for encoder, rows, channels in _blocks(pipe, plan, embeds.shape[1]):
            if not encoder.is_weighted:
                continue
            windows = len(encoder.chunks)
            block = embeds[index, rows, channels].reshape(windows, encoder.window, -1)
            weight = torch.tensor([chunk.weights for chunk in encoder.chunks])
            result[index, rows, channels] = emphasise(block, weight).flatten(0, 1)
    return result


def _blocks(pipe: Any, plan: TokenPlan, rows: int) -> Iterator[tuple[EncoderPlan, slice, slice]]:
    """Each encoder's rows and channels of the pipeline's text embedding; encoders that only give a pooled vector have
    none."""
    for segment in segments_of(pipe, [plan.encoders], rows):
        channel = 0
        for name in segment.encoders:
            width = int(getattr(pipe, name).config.hidden_size)
            yield plan[name], slice(segment.start, segment.stop), slice(channel, channel + width)
            channel += width
