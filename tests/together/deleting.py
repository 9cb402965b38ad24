"""The stock denoiser without one word of the text: what weight 0 must come to, by a mask and without promptattn."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# Which encoders' tokens stand in the rows of the text, and from which row on, by the denoiser's class.
ROWS = {
    "UNet2DConditionModel": {"text_encoder": 0},
    "SD3Transformer2DModel": {"text_encoder": 0, "text_encoder_3": 77},
    "FluxTransformer2DModel": {"text_encoder_2": 0},
}


class Deleted(TorchFunctionMode):
    """`F.scaled_dot_product_attention` hides some rows of the text from the image, in all batch rows of the prompt.

    calls: how many attention calls were changed.
    """

    def __init__(self, pipe: Any, denoiser: torch.nn.Module, text_rows: int, rows: list[int]) -> None:
        super().__init__()
        self.pipe, self.kind, self.text_rows, self.rows = pipe, type(denoiser).__name__, text_rows, rows
        self.calls = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function is not torch.nn.functional.scaled_dot_product_attention:
            return function(*args, **kwargs)
        names = ("query", "key", "value")
        query, key, value = (args[at] if at < len(args) else kwargs.pop(name) for at, name in enumerate(names))
        places = self._places(query.shape[-2], key.shape[-2])
        if places is not None:
            columns, queries = places
            hidden = torch.zeros(query.shape[0], 1, query.shape[-2], key.shape[-2], dtype=torch.bool)
            # Guidance puts the negative prompt's row first; perturbed guidance repeats the prompt's.
            first = 1 if len(hidden) > 1 and self.pipe.do_classifier_free_guidance else 0
            for column in columns:
                hidden[first:, :, queries, column] = True
            mask = kwargs.pop("attn_mask", None)
            mask = torch.zeros((), dtype=query.dtype) if mask is None else mask
            self.calls += 1
            if not self.rows:
                kwargs["attn_mask"] = None if mask.ndim == 0 else mask.double()
                return function(query.double(), key.double(), value.double(), **kwargs).to(query.dtype)
            kwargs["attn_mask"] = mask.expand(hidden.shape).masked_fill(hidden, -torch.inf)
        return function(query, key, value, **kwargs)

    def _places(self, queries: int, keys: int) -> tuple[list[int], slice] | None:
        """The columns to hide and the rows they are hidden from, or None for a call that sees no text."""
        if self.kind == "UNet2DConditionModel":
            return (self.rows, slice(0, queries)) if keys == self.text_rows else None
        if keys != queries or keys <= self.text_rows:
            return None
        image = keys - self.text_rows
        if self.kind == "SD3Transformer2DModel":  # the image first
            return [image + row for row in self.rows], slice(0, image)
        return self.rows, slice(self.text_rows, None)


@contextmanager
def deleting(pipe: Any, run: Any, word: str | None = None) -> Iterator[Deleted]:
    """While open, the pipeline's denoiser, and no model beside it, computes without the tokens of a word.

    None hides nothing, and attention is computed in float64: what differs then is rounding.
    """
    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    rows = [] if word is None else _rows(run, type(denoiser).__name__, word)
    mode = Deleted(pipe, denoiser, run.inputs["prompt_embeds"].shape[1], rows)
    handles = [
        denoiser.register_forward_pre_hook(lambda *_: mode.__enter__() and None),
        denoiser.register_forward_hook(lambda *_: mode.__exit__(None, None, None), always_call=True),
    ]
    try:
        yield mode
    finally:
        for handle in handles:
            handle.remove()


def _rows(run: Any, kind: str, word: str) -> list[int]:
    rows: list[int] = []
    for encoder in run.plans[0].encoders:
        start = encoder.prompt.text.index(word)
        if encoder.name in ROWS[kind]:
            tokens = [each for each in encoder.tokens if start <= each.start < start + len(word)]
            assert tokens
            rows += [ROWS[kind][encoder.name] + each.slot for each in tokens]
    return rows
