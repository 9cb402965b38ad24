"""Text to embeddings through the pipeline's own `encode_prompt`, with token ids, weights and layers dictated.

The pipeline is asked to encode an empty prompt, and a hook on each text encoder puts the planned ids in the place of
the empty ones. So whatever the pipeline does after the encoder (which layer it takes, projections, pooling, LoRA
scales, dtypes) is its own code, for long prompts in chunks as well, and no prompt is ever tokenised twice.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from promptattn.errors import ConfigError, PromptAttnWarning, UnsupportedModelError
from promptattn.processors.segments import Plans, Segment, check_encoders, segments_of, text_layout
from promptattn.processors.text_encoder import TextEncoderAttention
from promptattn.prompt import EncoderPlan
from promptattn.prompt.planning import sequence_length

__all__ = ["Encoded", "EncoderMaps", "encode", "zeros_like"]


@dataclass(frozen=True)
class EncoderMaps:
    """Self-attention of one text encoder over one chunk: float32 `[prompt, layer, query, key]`, mean over heads."""

    encoder: str
    chunk: int
    mass: torch.Tensor


@dataclass(frozen=True)
class Encoded:
    """Embeddings of a batch of prompts, in the denoiser's dtype.

    embeds: `[prompt, row, channel]`; pooled: `[prompt, channel]` or None; segments: which encoders' words stand in
    which rows of `embeds`; maps: empty unless recorded.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor | None
    segments: tuple[Segment, ...]
    maps: tuple[EncoderMaps, ...] = ()


def encode(
    pipe: Any,
    plans: Plans,
    *,
    odds: Callable[[float], float],
    clip_skip: int | None = None,
    max_sequence_length: int | None = None,
    record: bool = False,
) -> Encoded:
    """Encode a batch of planned prompts.

    Args:
        odds: from a prompt weight to the weight of the token's key in the encoder's attention; 1 leaves it alone.
        clip_skip: how many of the last layers of the CLIP encoders to leave out, as the pipeline's own `clip_skip`.
        max_sequence_length: as it was given to `plan`.
        record: keep the encoders' self-attention.

    Raises:
        UnsupportedModelError: when a text encoder is missing, its attention cannot be entered although it must, or the
            rows that the pipeline gives are not those planned.
        ConfigError: when `clip_skip` leaves no layer, or the pipeline has no `clip_skip`.
    """
    check_encoders(pipe, plans)
    layout = text_layout(pipe, plans)
    options = _options(pipe, len(plans), clip_skip, max_sequence_length)
    embeds, pooled, maps = [], None, []
    recorded = [record and _recordable(pipe, plan.name) for plan in plans[0]]
    for chunk in range(len(plans[0][0].chunks)):
        with ExitStack() as stack:
            dictations = [
                stack.enter_context(_dictate(pipe, [prompt[index] for prompt in plans], chunk, odds, clip_skip, keep))
                for index, keep in enumerate(recorded)
            ]
            result = _stock_encode(pipe, options)
            for dictation in dictations:
                dictation.check_called()
        embeds.append(result[0])
        if pooled is None and layout.pooled is not None:
            pooled = result[layout.pooled]
        maps += [
            EncoderMaps(d.name, chunk, d.attention.maps[-1]) for d in dictations if d.attention and d.attention.maps
        ]
    rows = torch.cat(embeds, dim=1) if len(embeds) > 1 else embeds[0]
    dtype = _dtype(pipe, rows)
    return Encoded(
        embeds=rows.to(dtype),
        pooled=None if pooled is None else pooled.to(dtype),
        segments=segments_of(pipe, plans, rows.shape[1]),
        maps=tuple(maps),
    )


def _recordable(pipe: Any, name: str) -> bool:
    encoder = getattr(pipe, name, None)
    if encoder is None or encoder.config._attn_implementation != "eager":
        return True
    # The core computes as sdpa does, whose rounding is not eager's: the image would not be the stock one to the bit.
    warnings.warn(
        f'attention between words is not recorded: {name} runs with "eager" attention; call'
        f' pipe.{name}.set_attn_implementation("sdpa") to have it.',
        PromptAttnWarning,
        stacklevel=5,
    )
    return False


def zeros_like(encoded: Encoded) -> Encoded:
    """What pipelines with `force_zeros_for_empty_prompt` take for the negative prompt when there is none."""
    pooled = None if encoded.pooled is None else torch.zeros_like(encoded.pooled)
    return Encoded(torch.zeros_like(encoded.embeds), pooled, encoded.segments)


def _options(pipe: Any, prompts: int, clip_skip: int | None, max_sequence_length: int | None) -> dict[str, Any]:
    """The arguments of the pipeline's `encode_prompt`, of those that it has."""
    takes = inspect.signature(pipe.encode_prompt).parameters
    if clip_skip is not None and "clip_skip" not in takes:
        raise ConfigError(f"clip_skip={clip_skip}: {type(pipe).__name__} has no clip_skip; leave it out.")
    wanted: dict[str, Any] = {
        "prompt": [""] * prompts,
        "prompt_2": None,
        "prompt_3": None,
        "device": pipe._execution_device,
        "num_images_per_prompt": 1,
        "do_classifier_free_guidance": False,
        "clip_skip": None if _skips_by_hook(pipe) else clip_skip,
    }
    if (length := sequence_length(pipe, max_sequence_length)) is not None:
        wanted["max_sequence_length"] = length
    return {name: value for name, value in wanted.items() if name in takes}


@torch.no_grad()
def _stock_encode(pipe: Any, options: dict[str, Any]) -> tuple[Any, ...]:
    result: tuple[Any, ...] = pipe.encode_prompt(**options)
    return result


def _dtype(pipe: Any, text: torch.Tensor) -> torch.dtype:
    """The dtype in which the denoiser takes its text.

    Pipelines around a transformer hand text embeddings on as they are, and make the latents in their dtype: with
    encoders of another dtype than the denoiser's the stock call fails. UNet pipelines cast on their own.
    """
    dtype = getattr(getattr(pipe, "transformer", None), "dtype", None)
    # Other dtypes are those in which quantised weights are stored, not those in which they compute.
    known = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    return dtype if dtype in known else text.dtype


def _skips_by_hook(pipe: Any) -> bool:
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


@dataclass
class _Dictation:
    name: str
    ids: torch.Tensor
    visible: torch.Tensor
    skip: int | None
    attention: TextEncoderAttention | None = None
    calls: int = 0

    def check_called(self) -> None:
        if self.calls != 1:
            raise UnsupportedModelError(
                f"the pipeline called {self.name} {self.calls} times to encode a prompt, not once,"
                " so its text cannot be dictated."
            )

    def before(self, encoder: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = kwargs.get("input_ids", args[0] if args else None)
        if given is None or tuple(given.shape) != tuple(self.ids.shape):
            raise UnsupportedModelError(
                f"the pipeline called {self.name} with ids of shape {None if given is None else tuple(given.shape)}"
                f" where {tuple(self.ids.shape)} were planned; its encode_prompt is not one promptattn knows."
            )
        self.calls += 1
        ids = self.ids.to(given.device)
        kwargs = {**kwargs}
        if kwargs.get("attention_mask") is not None:
            kwargs["attention_mask"] = self.visible.to(given.device)
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


@contextmanager
def _dictate(
    pipe: Any,
    plans: Sequence[EncoderPlan],
    chunk: int,
    odds: Callable[[float], float],
    clip_skip: int | None,
    record: bool,
) -> Iterator[_Dictation]:
    """While open, the encoder of `plans` reads this chunk of them, whatever it is given."""
    name = plans[0].name
    encoder = getattr(pipe, name, None)
    if encoder is None:
        raise UnsupportedModelError(f"the pipeline has no {name}; load it, or leave the prompt to a pipeline that has.")
    if clip_skip is not None:
        _check_clip_skip(clip_skip, name, encoder)
    ids = torch.tensor([plan.chunks[chunk].ids for plan in plans])
    window = plans[0].window
    kinds = [[slot.kind for slot in plan.slots[chunk * window : (chunk + 1) * window]] for plan in plans]
    visible = torch.tensor([[kind != "padding" for kind in row] for row in kinds]).long()
    weights = [[odds(weight) for weight in plan.chunks[chunk].weights] for plan in plans]
    weighted = any(weight != 1.0 for row in weights for weight in row)
    skip = clip_skip if clip_skip is not None and _skips_by_hook(pipe) else None
    dictation = _Dictation(name, ids, visible, skip)
    handles = [
        encoder.register_forward_pre_hook(dictation.before, with_kwargs=True),
        encoder.register_forward_hook(dictation.after),
    ]
    try:
        if weighted or record:
            dictation.attention = TextEncoderAttention(encoder)
            dictation.attention.weights = torch.tensor(weights, dtype=torch.float32) if weighted else None
            dictation.attention.record = record
            dictation.attention.attach()
        yield dictation
    finally:
        if dictation.attention is not None:
            dictation.attention.detach()
        for handle in handles:
            handle.remove()
