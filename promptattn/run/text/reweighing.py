"""The embedding methods applied to what a pipeline's `encode_prompt` gave: encoder by encoder, prompt by prompt."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from promptattn.errors import ConfigError, UnsupportedModelError, WeightingError
from promptattn.processors.segments import Plans, Segment, text_layout
from promptattn.weighting import EmbeddingWeighting
from promptattn.weighting.masking import Reading
from promptattn.weighting.recipes import Recipe, recipe

__all__ = ["Reweighing", "Text"]


@dataclass(frozen=True)
class Text:
    """What the pipeline made of a batch: embeds `[prompt, row, channel]`, pooled `[prompt, channel]` or None, and which
    rows may be attended to, in the pipeline's own form, or None."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None
    mask: torch.Tensor | None = None


@dataclass(frozen=True)
class _Block:
    """Where one encoder's embedding stands in the joined one."""

    encoder: int
    rows: slice
    channels: slice


class Reweighing:
    """The recipes of a batch, and where the blocks that they work on stand.

    Raises:
        WeightingError: when the method cannot act on an encoder.
        ConfigError: when the pooled embedding is to be weighted and the pipeline has none.
    """

    def __init__(self, pipe: Any, plans: Plans, method: EmbeddingWeighting, segments: Sequence[Segment]) -> None:
        self._pipe = pipe
        self._plans = plans
        self._segments = segments
        self._name = method.name
        self._pooled = method.pooled
        if method.pooled and text_layout(pipe, plans).pooled is None:
            raise ConfigError(f"pooled=True: {type(pipe).__name__} takes no pooled embedding; leave the option out.")
        used = {name for segment in segments for name in segment.encoders}
        used |= set(self._pooling()) if method.pooled else set()
        self._recipes: list[list[Recipe | None]] = [
            [recipe(method, plan, _tokenizer(pipe, plan.name)) if plan.name in used else None for plan in prompt]
            for prompt in plans
        ]

    def readings(self, plain: Sequence[tuple[Reading, ...]]) -> Iterator[list[tuple[Reading, ...]]]:
        """What the encoders are to read beside the prompts, a batch at a time; `plain` where there is nothing to."""
        rounds = max((len(each.readings) for row in self._recipes for each in row if each), default=0)
        for number in range(rounds):
            yield [
                tuple(
                    each.readings[number] if each and number < len(each.readings) else own
                    for each, own in zip(recipes, owns, strict=True)
                )
                for recipes, owns in zip(self._recipes, plain, strict=True)
            ]

    def apply(self, text: Text, others: Sequence[Text]) -> Text:
        """The weighted text; `others` are what came of the readings. What no weight acts on comes back to the bit.

        Raises:
            WeightingError: when a weight makes it larger than its dtype holds.
        """
        embeds, pooled = text.embeds.clone(), text.pooled
        for block in self._blocks(text.embeds.shape[-1]):
            for number, found in self._weighted(block.encoder):
                place = number, block.rows, block.channels
                shape = (-1, self._plans[number][block.encoder].window)
                read = [other.embeds[place].unflatten(0, shape) for other in others[: len(found.readings)]]
                weighted = _exactly(found.weigh, text.embeds[place].unflatten(0, shape), read)
                embeds[place] = weighted.flatten(0, 1)
        if self._pooled and text.pooled is not None:
            pooled = self._apply_pooled(text.pooled, [other.pooled for other in others if other.pooled is not None])
        self._check_fits(text.embeds, embeds)
        return Text(embeds, pooled, text.mask)

    def _check_fits(self, before: torch.Tensor, after: torch.Tensor) -> None:
        if before.isfinite().all() and not after.isfinite().all():
            heaviest = max((plan.weights for prompt in self._plans for plan in prompt), key=lambda w: max(map(abs, w)))
            raise WeightingError(
                f"{self._name}: a weight of {max(heaviest, key=abs):g} makes text embeddings too large for"
                f" {str(after.dtype).removeprefix('torch.')}; use weights nearer to 1."
            )

    def _apply_pooled(self, pooled: torch.Tensor, others: Sequence[torch.Tensor]) -> torch.Tensor:
        result = pooled.clone()
        for encoder, channels in self._pooled_blocks(pooled.shape[-1]):
            for number, found in self._weighted(encoder):
                if found.weigh_pooled is not None:
                    read = [other[number, channels] for other in others[: len(found.readings)]]
                    result[number, channels] = _exactly(found.weigh_pooled, pooled[number, channels], read)
        return result

    def _weighted(self, encoder: int) -> Iterator[tuple[int, Recipe]]:
        for number, recipes in enumerate(self._recipes):
            if (found := recipes[encoder]) is not None:
                yield number, found

    def _blocks(self, width: int) -> Iterator[_Block]:
        names = [plan.name for plan in self._plans[0]]
        for segment in self._segments:
            widths = [int(getattr(self._pipe, name).config.hidden_size) for name in segment.encoders]
            # Two encoders side by side may be filled up with zeros, as in SD3.
            if sum(widths) > width or (len(widths) == 1 and widths[0] < width):
                raise self._unknown("text embeddings", width, segment.encoders, sum(widths))
            for name, channels in zip(segment.encoders, _side_by_side(widths), strict=True):
                yield _Block(names.index(name), slice(segment.start, segment.stop), channels)

    def _pooled_blocks(self, width: int) -> Iterator[tuple[int, slice]]:
        names = [plan.name for plan in self._plans[0]]
        pooling = self._pooling()
        widths = [_pooled_width(getattr(self._pipe, name)) for name in pooling]
        if sum(widths) != width:
            raise self._unknown("a pooled embedding", width, pooling, sum(widths))
        for name, channels in zip(pooling, _side_by_side(widths), strict=True):
            yield names.index(name), channels

    def _pooling(self) -> tuple[str, ...]:
        """The encoders that give the pooled embedding: those without rows (Flux's CLIP), else all that the pipeline
        cannot do without (SD3's two), else the last (SDXL's second)."""
        layout = text_layout(self._pipe, self._plans)
        rows = {name for group in layout.rows for name in group}
        return tuple(name for name in layout.needed if name not in rows) or layout.needed or (self._plans[0][-1].name,)

    def _unknown(self, what: str, width: int, names: Sequence[str], theirs: int) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"{type(self._pipe).__name__} gives {what} of {width} channels, but its {' and '.join(names)} together"
            f" {theirs}; an embedding method cannot tell whose they are. Use weighting='attention'."
        )


def _exactly(
    weigh: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], base: torch.Tensor, others: Sequence[torch.Tensor]
) -> torch.Tensor:
    """`weigh` in float64 where the device has it, the result in the dtype of `base`.

    Some formulas divide by small differences: the mean of a T5 window, which A1111 restores, is a hundredth of its
    numbers, and in float32 1e-5 of it is rounding.
    """
    exact = base.to(torch.float32 if base.device.type == "mps" else torch.float64)
    read = torch.stack(list(others)).to(exact) if others else exact.new_empty(0, *exact.shape)
    return weigh(exact, read).to(base)


def _side_by_side(widths: Sequence[int]) -> list[slice]:
    ends = [sum(widths[: number + 1]) for number in range(len(widths))]
    return [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]


def _pooled_width(encoder: Any) -> int:
    projected = getattr(encoder, "text_projection", None) is not None
    return int(encoder.config.projection_dim if projected else encoder.config.hidden_size)


def _tokenizer(pipe: Any, name: str) -> Any:
    return getattr(pipe, name.replace("text_encoder", "tokenizer"))
