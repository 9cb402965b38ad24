"""Putting planned token ids, weights and masks in the place of what a pipeline gives its text encoder."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from promptattn.errors import ConfigError, UnsupportedModelError
from promptattn.processors.text_encoder import TextEncoderAttention
from promptattn.prompt.tokenising import given_ids

__all__ = ["Dictation", "dictate", "skips_by_hook"]


@dataclass
class Dictation:
    """What one text encoder reads in one call, whatever it is given.

    Attributes:
        ids: `[prompt, row]`, int64.
        visible: `[prompt, row]`, 0 on padding; takes the place of the pipeline's own mask where it has one.
        hidden: `[prompt, row]`, True on tokens that are not to be attended to; hidden whether or not there is a mask.
        skip: how many layers to leave out here; None where the pipeline sees to it, or none is.
        attention: set where keys are weighted or attention is recorded.
        same_ids: whether the encoder must have been given these very ids anyway.
    """

    name: str
    ids: torch.Tensor
    visible: torch.Tensor
    hidden: torch.Tensor
    skip: int | None = None
    attention: TextEncoderAttention | None = None
    same_ids: bool = False
    calls: int = 0

    @property
    def read(self) -> torch.Tensor:
        """int64 `[token]`: the rows that are more than padding in any of the prompts."""
        return self.visible.any(dim=0).nonzero().flatten()

    def check_called(self) -> None:
        """Raises `UnsupportedModelError` unless the pipeline called the encoder once."""
        if self.calls != 1:
            raise UnsupportedModelError(
                f"the pipeline called {self.name} {self.calls} times to encode a prompt, not once,"
                " so its text cannot be dictated."
            )

    def before(self, encoder: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = given_ids(args, kwargs)
        if given is None or tuple(given.shape) != tuple(self.ids.shape):
            raise UnsupportedModelError(
                f"the pipeline called {self.name} with ids of shape {None if given is None else tuple(given.shape)}"
                f" where {tuple(self.ids.shape)} were planned; its encode_prompt is not one promptattn knows."
            )
        self.calls += 1
        ids = self.ids.to(given.device)
        if self.same_ids and not torch.equal(given, ids):
            raise UnsupportedModelError(
                f"the pipeline reads other tokens for {self.name} than were planned for the prompt, so no weight could"
                " be placed; its tokenizer or its encode_prompt is not one promptattn knows."
            )
        kwargs = {**kwargs}
        if (positions := kwargs.get("position_ids")) is not None:
            kwargs["position_ids"] = self._positions(positions, kwargs.get("attention_mask"))
        if (mask := self._mask(kwargs.get("attention_mask") is not None)) is not None:
            kwargs["attention_mask"] = mask.to(given.device)
        if self.skip is not None:
            kwargs["output_hidden_states"] = True
        if "input_ids" in kwargs:
            return args, {**kwargs, "input_ids": ids}
        return (ids, *args[1:]), kwargs

    def after(self, encoder: Any, args: Any, output: Any) -> Any:
        if self.skip is None:
            return output
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        output.last_hidden_state = norm(output.hidden_states[-(self.skip + 1)])
        return output

    def _mask(self, given: bool) -> torch.Tensor | None:
        if given:
            return self.visible * ~self.hidden
        return (~self.hidden).long() if self.hidden.any() else None

    def _positions(self, given: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Those of the tokens that are dictated, if the pipeline counts them as is known here."""
        if mask is None or not torch.equal(given, _counted(mask)):
            raise UnsupportedModelError(
                f"the pipeline gives {self.name} positions that do not count its tokens from 0, so those of the prompt"
                " cannot be told; its encode_prompt is not one promptattn knows."
            )
        return _counted(self.visible).to(given)


def _counted(visible: torch.Tensor) -> torch.Tensor:
    """The position of each token, counted from 0 behind padding, which has position 0 too: `[prompt, row]`."""
    return (visible.cumsum(dim=-1) - 1).clamp(min=0)


@contextmanager
def dictate(
    pipe: Any, dictation: Dictation, *, clip_skip: int | None, weights: Sequence[Sequence[float]], record: bool
) -> Iterator[Dictation]:
    """While open, the encoder reads what is dictated, its keys weighted by `weights` `[prompt][row]`.

    Raises:
        UnsupportedModelError: when the pipeline has no such encoder, or its attention must be entered and cannot.
        ConfigError: when `clip_skip` leaves no layer.
    """
    encoder = getattr(pipe, dictation.name, None)
    if encoder is None:
        raise UnsupportedModelError(
            f"the pipeline has no {dictation.name}; load it, or leave the prompt to a pipeline that has."
        )
    if clip_skip is not None:
        _check_clip_skip(clip_skip, dictation.name, encoder)
        dictation.skip = clip_skip if skips_by_hook(pipe) else None
    weighted = any(weight != 1.0 for row in weights for weight in row)
    handles = [
        encoder.register_forward_pre_hook(dictation.before, with_kwargs=True),
        encoder.register_forward_hook(dictation.after),
    ]
    try:
        if weighted or record:
            dictation.attention = TextEncoderAttention(encoder)
            dictation.attention.weights = torch.tensor(weights, dtype=torch.float32) if weighted else None
            dictation.attention.record, dictation.attention.tokens = record, dictation.read
            dictation.attention.attach()
        yield dictation
    finally:
        if dictation.attention is not None:
            dictation.attention.detach()
        for handle in handles:
            handle.remove()


def skips_by_hook(pipe: Any) -> bool:
    """Whether `clip_skip` is done here: with one encoder the stock code looks for `text_encoder.text_model`, which
    transformers 5 no longer has on CLIPTextModel, and fails."""
    return getattr(pipe, "text_encoder_2", None) is None


def _check_clip_skip(clip_skip: int, name: str, encoder: Any) -> None:
    if "clip" not in encoder.config.model_type:
        return
    layers = int(encoder.config.num_hidden_layers)
    if not 0 <= clip_skip < layers:
        raise ConfigError(
            f"clip_skip={clip_skip} leaves no layer: {name} has {layers}, so it can be 0 to {layers - 1}."
        )
