"""Text to embeddings through the pipeline's own `encode_prompt`, with token ids, weights and layers dictated.

The pipeline is asked to encode an empty prompt, and a hook on each text encoder puts the planned ids in the place of
the empty ones. (Where it also makes a mask of what its tokenizer gives, it is asked to encode the prompt itself, and
the hook sees that it comes to the same ids.) So whatever the pipeline does after the encoder (which layer it takes,
projections, pooling, LoRA scales, dtypes) is its own code, for long prompts in chunks as well, and no prompt is ever
tokenised twice.

Methods of the attention family weigh the encoders' keys meanwhile. Embedding methods take what came out, and what
comes out for the further texts that they need (the empty prompt, copies with words masked), and make one of them:
:mod:`promptattn.run.text.reweighing`.
"""

import inspect
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch

from promptattn.errors import ConfigError, WeightingError
from promptattn.processors.segments import Plans, Segment, TextLayout, check_encoders, segments_of, text_layout
from promptattn.processors.text_encoder import why_closed
from promptattn.prompt import EncoderPlan
from promptattn.prompt.planning import sequence_length
from promptattn.run.text.closed import left_alone
from promptattn.run.text.dictation import Dictation, dictate, skips_by_hook
from promptattn.run.text.reweighing import Reweighing, Text
from promptattn.telling import tell
from promptattn.weighting import EmbeddingWeighting, Method, Weighting
from promptattn.weighting.masking import Reading, plain_reading

__all__ = ["Encoded", "EncoderMaps", "encode", "zeros_like"]


@dataclass(frozen=True)
class EncoderMaps:
    """Self-attention of one text encoder over one chunk: float32 `[prompt, layer, query, key]`, mean over heads.

    Queries and keys are the `rows` of the chunk, int64 `[row]`: those that are more than padding in any of the prompts.
    """

    encoder: str
    chunk: int
    rows: torch.Tensor
    mass: torch.Tensor


@dataclass(frozen=True)
class Encoded:
    """Embeddings of a batch of prompts, in the denoiser's dtype.

    embeds: `[prompt, row, channel]`; pooled: `[prompt, channel]` or None; segments: which encoders' words stand in
    which rows of `embeds`; maps: empty unless recorded; mask: which rows may be attended to, as the pipeline makes and
    takes it, or None for a pipeline that makes none.

    For a pipeline that encodes its prompts itself, when it is called, `embeds` has rows without channels.
    """

    embeds: torch.Tensor
    pooled: torch.Tensor | None
    segments: tuple[Segment, ...]
    maps: tuple[EncoderMaps, ...] = ()
    mask: torch.Tensor | None = None


def encode(
    pipe: Any,
    plans: Plans,
    *,
    weighting: Method,
    clip_skip: int | None = None,
    max_sequence_length: int | None = None,
    record: bool = False,
) -> Encoded:
    """Encode a batch of planned prompts.

    Args:
        weighting: how weights act, in the encoders' attention or on what they give.
        clip_skip: how many of the last layers of the CLIP encoders to leave out, as the pipeline's own `clip_skip`.
        max_sequence_length: as it was given to `plan`.
        record: keep the encoders' self-attention.

    Raises:
        UnsupportedModelError: when a text encoder is missing, its attention cannot be entered although it must, or the
            rows that the pipeline gives are not those planned.
        ConfigError: when `clip_skip` leaves no layer, or the pipeline has no `clip_skip`.
        WeightingError: when the method cannot act on an encoder; names both.
    """
    if text_layout(pipe, plans).spoken is not None:
        return _spoken(pipe, plans, weighting)
    check_encoders(pipe, plans)
    reader = _Reader(pipe, plans, weighting, clip_skip, max_sequence_length)
    plain = [tuple(plain_reading(plan) for plan in prompt) for prompt in plans]
    windows, maps = reader.read(plain, [record and _recordable(pipe, plan.name) for plan in plans[0]])
    text = _joined(windows)
    segments = segments_of(pipe, plans, text.embeds.shape[1])
    if isinstance(weighting, EmbeddingWeighting):
        reweighing = Reweighing(pipe, plans, weighting, segments)
        others = [_joined(reader.read_changed(readings, plain, windows)) for readings in reweighing.readings(plain)]
        text = reweighing.apply(text, others)
    dtype = _dtype(pipe, text.embeds)
    return Encoded(
        embeds=text.embeds.to(dtype),
        pooled=None if text.pooled is None else text.pooled.to(dtype),
        segments=segments,
        maps=maps,
        mask=text.mask,
    )


def _spoken(pipe: Any, plans: Plans, weighting: Method) -> Encoded:
    """The rows that a pipeline will have that encodes its prompts itself."""
    if isinstance(weighting, EmbeddingWeighting):
        raise WeightingError(
            f"weighting={weighting.name!r} weighs text embeddings, and {type(pipe).__name__} makes them itself of the"
            ' prompt in its template; use weighting="attention".'
        )
    planned = {plan.name: len(plan.slots) for plan in plans[0]}
    rows = sum(planned.get(group[0], 0) for group in text_layout(pipe, plans).rows)
    return Encoded(torch.empty(len(plans), rows, 0), None, segments_of(pipe, plans, rows))


def zeros_like(encoded: Encoded) -> Encoded:
    """What pipelines with `force_zeros_for_empty_prompt` take for the negative prompt when there is none."""
    pooled = None if encoded.pooled is None else torch.zeros_like(encoded.pooled)
    return Encoded(torch.zeros_like(encoded.embeds), pooled, encoded.segments, mask=encoded.mask)


Readings = Sequence[tuple[Reading, ...]]
"""For every prompt of the batch, one reading per text encoder."""


class _Reader:
    """The pipeline's encoders and what it makes of them, window by window."""

    def __init__(
        self, pipe: Any, plans: Plans, weighting: Method, clip_skip: int | None, max_sequence_length: int | None
    ) -> None:
        self._pipe = pipe
        self._plans = plans
        self._weighting = weighting
        self._clip_skip = clip_skip
        self._layout: TextLayout = text_layout(pipe, plans)
        self._reads_prompt = self._layout.mask is not None
        texts = [prompt[0].prompt.text if self._reads_prompt else "" for prompt in plans]
        self._options = _options(pipe, texts, clip_skip, max_sequence_length)

    def read(self, readings: Readings, record: Sequence[bool]) -> tuple[list[Text], tuple[EncoderMaps, ...]]:
        """Every window of the readings, and the maps of the encoders that `record` says."""
        windows: list[Text] = []
        maps: list[EncoderMaps] = []
        for chunk in range(len(self._plans[0][0].chunks)):
            text, found = self._window(readings, chunk, record, same_ids=self._reads_prompt)
            windows.append(text)
            maps += found
        return windows, tuple(maps)

    def read_changed(self, readings: Readings, plain: Readings, known: Sequence[Text]) -> list[Text]:
        """Likewise, without maps; windows in which the readings are the plain ones are taken from `known`."""
        silent = [False] * len(self._plans[0])
        return [
            text if self._same(readings, plain, chunk) else self._window(readings, chunk, silent)[0]
            for chunk, text in enumerate(known)
        ]

    def _same(self, readings: Readings, plain: Readings, chunk: int) -> bool:
        return all(
            self._cut(reading, plan, chunk) == self._cut(other, plan, chunk)
            for prompt, plains, plans in zip(readings, plain, self._plans, strict=True)
            for reading, other, plan in zip(prompt, plains, plans, strict=True)
        )

    @staticmethod
    def _cut(reading: Reading, plan: EncoderPlan, chunk: int) -> tuple[tuple[int, ...], list[bool]]:
        """Ids of one window, and which of its rows are hidden."""
        rows = range(chunk * plan.window, (chunk + 1) * plan.window)
        return reading.ids[rows.start : rows.stop], [row in reading.hidden for row in rows]

    def _window(
        self, readings: Readings, chunk: int, record: Sequence[bool], *, same_ids: bool = False
    ) -> tuple[Text, list[EncoderMaps]]:
        """One window. `same_ids`: the pipeline is to come to the dictated ids by itself."""
        with ExitStack() as stack:
            dictations = [
                stack.enter_context(
                    dictate(
                        self._pipe,
                        replace(self._dictation(readings, index, chunk), same_ids=same_ids),
                        clip_skip=self._clip_skip,
                        weights=self._key_weights(index, chunk),
                        record=keep,
                    )
                )
                for index, keep in enumerate(record)
            ]
            result = _stock_encode(self._pipe, self._options)
            for dictation in dictations:
                dictation.check_called()
        pooled, mask = (None if at is None else result[at] for at in (self._layout.pooled, self._layout.mask))
        maps = [
            EncoderMaps(d.name, chunk, d.read, d.attention.maps[-1])
            for d in dictations
            if d.attention and d.attention.maps
        ]
        return Text(result[0], pooled, mask), maps

    def _dictation(self, readings: Readings, index: int, chunk: int) -> Dictation:
        plans = [prompt[index] for prompt in self._plans]
        cut = [self._cut(prompt[index], plan, chunk) for prompt, plan in zip(readings, plans, strict=True)]
        kinds = [[slot.kind for slot in plan.chunks[chunk].slots] for plan in plans]
        return Dictation(
            name=plans[0].name,
            ids=torch.tensor([ids for ids, _ in cut]),
            visible=torch.tensor([[kind != "padding" for kind in row] for row in kinds]).long(),
            hidden=torch.tensor([hidden for _, hidden in cut]),
        )

    def _key_weights(self, index: int, chunk: int) -> list[list[float]]:
        weigh = self._weighting.in_text_encoder
        weights = [[weigh(weight) for weight in prompt[index].chunks[chunk].weights] for prompt in self._plans]
        if all(weight == 1.0 for row in weights for weight in row):
            return weights
        name = self._plans[0][index].name
        if isinstance(self._weighting, Weighting) and left_alone(self._weighting, name, getattr(self._pipe, name)):
            return [[1.0] * len(row) for row in weights]
        return weights


def _joined(windows: Sequence[Text]) -> Text:
    """The windows' rows one after the other, and the first one's pooled vector."""
    if len(windows) == 1:
        return windows[0]
    return Text(torch.cat([window.embeds for window in windows], dim=1), windows[0].pooled)


def _recordable(pipe: Any, name: str) -> bool:
    encoder = getattr(pipe, name, None)
    if encoder is None:
        return True
    if reason := why_closed(encoder):
        tell(f"attention between words is not recorded: {reason}; leave text->text out of the capture's relations.")
        return False
    if encoder.config._attn_implementation != "eager":
        return True
    # The core computes as sdpa does, whose rounding is not eager's: the image would not be the stock one to the bit.
    tell(
        f'attention between words is not recorded: {name} runs with "eager" attention; call'
        f' pipe.{name}.set_attn_implementation("sdpa") to have it.'
    )
    return False


def _options(pipe: Any, texts: list[str], clip_skip: int | None, max_sequence_length: int | None) -> dict[str, Any]:
    """The arguments of the pipeline's `encode_prompt`, of those that it has."""
    takes = inspect.signature(pipe.encode_prompt).parameters
    if clip_skip is not None and "clip_skip" not in takes:
        raise ConfigError(f"clip_skip={clip_skip}: {type(pipe).__name__} has no clip_skip; leave it out.")
    wanted: dict[str, Any] = {
        "prompt": texts,
        "prompt_2": None,
        "prompt_3": None,
        "device": pipe._execution_device,
        "num_images_per_prompt": 1,
        "do_classifier_free_guidance": False,
        "clip_skip": None if skips_by_hook(pipe) else clip_skip,
        "clean_caption": False,
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
