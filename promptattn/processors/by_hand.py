"""A full dict of processors for users who install them themselves, without `attend`."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from promptattn.core import KeyWeights
from promptattn.errors import ConfigError
from promptattn.maps.recorder import Recorder, Watched
from promptattn.places import Grid
from promptattn.processors.derive import derive
from promptattn.processors.install import attention_layers
from promptattn.processors.layouts import layout_of

if TYPE_CHECKING:
    from promptattn.prompt import TokenPlan

__all__ = ["processors_for"]


def processors_for(
    denoiser: torch.nn.Module,
    plan: "TokenPlan",
    recorder: Recorder | None = None,
    *,
    size: Grid | None = None,
    guidance: bool = True,
    images_per_prompt: int = 1,
    odds: Callable[[float], float] = float,
) -> dict[str, Any]:
    """Processors for every attention layer of a denoiser, with a plan's weights on the cross-attention layers.

        processors = processors_for(pipe.unet, plan(pipe, "a (red:1.4) cat"))
        pipe.unet.set_attn_processor(dict(processors))     # it empties the dict that it is given
        image = pipe("a red cat").images[0]                # the same text, without its weights

    Rows are taken to lie as the stock pipeline lays them, `images_per_prompt` negative rows before as many positive
    ones; :func:`promptattn.attend` recognises them by their text instead, and restores the processors.

    Args:
        plan: of one prompt that fits one chunk.
        recorder: a :class:`promptattn.maps.recorder.Recorder`; it gets one column per text key, from every call, of
            the positive rows. `recorder.mean(layer)` is float32 `[image, height * width, key]`.
        size: (height, width) of the latents; needed with a recorder.
        guidance: whether the batch holds negative rows.
        odds: from a prompt's weight to its odds; plain weights unless given.

    Returns:
        `{layer.processor: processor}`, the stock processors on self-attention layers, as `set_attn_processor` takes it.
    """
    if recorder is not None and size is None:
        raise ConfigError("processors_for() with a recorder needs size=(height, width) of the latents.")
    layout, layers = layout_of(denoiser), attention_layers(denoiser)
    positive = torch.tensor([[odds(w) for chunk in plan.encoders[0].chunks for w in chunk.weights]])
    negative = torch.tensor([[odds(w) for chunk in plan.negative[0].chunks for w in chunk.weights]])
    blocks = [negative, positive] if guidance else [positive]
    if not layout.negative_first:
        blocks.reverse()
    weights = torch.cat(blocks).repeat_interleave(images_per_prompt, dim=0)
    index = (weights != 1).any(dim=0).nonzero().flatten()
    start = images_per_prompt if guidance and layout.negative_first else 0
    rows = slice(start, start + images_per_prompt)
    keys = weights.shape[1]
    key_weights = KeyWeights(index, weights[:, index]) if len(index) else None
    call = layout.call(denoiser, torch.empty(len(weights), keys, 0), size or (1, 1))
    groups = torch.arange(keys).expand(images_per_prompt, keys)
    watched = Watched(groups, keys, text_rows=torch.arange(0))

    processors: dict[str, Any] = {}
    for name, kind in layout.layers(denoiser).items():
        processors[f"{name}.processor"] = stock = layers[name].processor
        if kind == "image":
            continue
        processor: Any = derive(type(stock)).standing_for(stock, name)
        processor.site.keys = call.keys(kind)
        processor.site.key_weights = key_weights
        if recorder is not None:
            places = partial(call.places, kind)
            processor.site.columns = recorder.watch(name, "image->text", watched, places, step=0, rows=rows)
        processors[f"{name}.processor"] = processor
    return processors
