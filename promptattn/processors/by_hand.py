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
from promptattn.processors.layouts import READING, layout_of
from promptattn.processors.rules import check_rule
from promptattn.processors.segments import row_encoders
from promptattn.weighting.odds import Rule, Weighting

if TYPE_CHECKING:
    from promptattn.prompt import TokenPlan

__all__ = ["processors_for"]


def processors_for(
    denoiser: torch.nn.Module,
    plan: "TokenPlan",
    recorder: Recorder | None = None,
    *,
    size: Grid | None = None,
    text_rows: int | None = None,
    guidance: bool = True,
    images_per_prompt: int = 1,
    odds: Callable[[float], float] = float,
    rule: Rule = "odds",
) -> dict[str, Any]:
    """Processors for every attention layer of a denoiser, with a plan's weights on the layers that see text.

        processors = processors_for(pipe.unet, plan(pipe, "a (red:1.4) cat"))
        pipe.unet.set_attn_processor(dict(processors))     # it empties the dict that it is given
        image = pipe("a red cat").images[0]                # the same text, without its weights

    Rows are taken to lie as the stock pipeline lays them, `images_per_prompt` negative rows before as many positive
    ones; :func:`promptattn.attend` recognises them by their text instead, and restores the processors.

    Args:
        plan: of one prompt that fits one chunk.
        recorder: a :class:`promptattn.maps.recorder.Recorder`; it gets one column per row of the text, from every
            call, of the positive rows. `recorder.mean(layer)` is float32 `[image, height * width, row]`.
        size: (height, width) of the latents; needed with a recorder, and for joint attention.
        text_rows: the number of rows of text that the denoiser is given, if more than the encoders of the plan have
            (Stable Diffusion 3 without T5 puts rows of zeros in its place).
        guidance: whether the batch holds negative rows; False for Flux, which never has them in the same batch.
        odds: from a prompt's weight to its odds; plain weights unless given.
        rule: by which weights act: `odds`, `prompt-to-prompt` or `negpip`; see
            :class:`promptattn.weighting.Weighting`.

    Raises:
        ConfigError: for an argument that is missing or does not fit.
        UnsupportedModelError: for `negpip` where keys are normalised.

    Returns:
        `{layer.processor: processor}`, the stock processors on layers that see no text, as `set_attn_processor` takes
        it.
    """
    key_rule = Weighting(rule=rule).key_rule
    layout, layers = layout_of(denoiser), attention_layers(denoiser)
    kinds = layout.layers(denoiser)
    together = {"joint", "added"} & set(kinds.values())
    if size is None and (recorder is not None or together):
        why = "with a recorder" if recorder is not None else f"for {type(denoiser).__name__}"
        raise ConfigError(f"processors_for() {why} needs size=(height, width) of the latents.")
    weights, rows = _weights(denoiser, plan, odds, text_rows, guidance, images_per_prompt, layout.negative_first)
    index = (weights != 1).any(dim=0).nonzero().flatten()
    key_weights = KeyWeights(index, weights[:, index], rule=key_rule) if len(index) else None
    if key_weights is not None:
        check_rule(key_rule, denoiser, [name for name, kind in kinds.items() if kind in READING], kinds)
    call = layout.call(denoiser, torch.empty(*weights.shape, 0), size or (1, 1))
    every = torch.arange(weights.shape[1])
    watched = Watched(every.expand(images_per_prompt, -1), len(every), key_rows=every, text_rows=torch.arange(0))

    processors: dict[str, Any] = {}
    for name, kind in kinds.items():
        processors[f"{name}.processor"] = stock = layers[name].processor
        if kind not in READING:
            continue
        processor: Any = derive(type(stock)).standing_for(stock, name)
        processor.site.keys = call.keys(kind)
        processor.site.key_weights = None if key_weights is None else call.place(kind, key_weights)
        if recorder is not None:
            places = partial(call.places, kind)
            processor.site.columns = recorder.watch(name, "image->text", watched, places, step=0, rows=rows)
        processors[f"{name}.processor"] = processor
    return processors


def _weights(
    denoiser: torch.nn.Module,
    plan: "TokenPlan",
    odds: Callable[[float], float],
    text_rows: int | None,
    guidance: bool,
    images_per_prompt: int,
    negative_first: bool,
) -> tuple[torch.Tensor, slice]:
    """The odds of every row of the text, float32 `[batch, row]`, and the batch rows of the prompt."""
    blocks = [
        [odds(weight) for each in row_encoders(denoiser, plans) for weight in each.weights]
        for plans in ((plan.negative, plan.encoders) if guidance else (plan.encoders,))
    ]
    planned = len(blocks[0])
    rows = planned if text_rows is None else text_rows
    if rows < planned:
        raise ConfigError(f"text_rows={rows} are fewer than the {planned} that the plan's text encoders have.")
    if not negative_first:
        blocks.reverse()
    table = torch.tensor([block + [1.0] * (rows - planned) for block in blocks])
    start = images_per_prompt if guidance and negative_first else 0
    return table.repeat_interleave(images_per_prompt, dim=0), slice(start, start + images_per_prompt)
