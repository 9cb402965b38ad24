"""The embedding methods applied to what a pipeline's `encode_prompt` gave: encoder by encoder, prompt by prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from promptattn.errors import UnsupportedModelError
from promptattn.processors.segments import Plans, Segment
from promptattn.weighting import EmbeddingWeighting
from promptattn.weighting.recipes import Reading, recipe

__all__ = ["Reweighing", "Text"]


@dataclass(frozen=True)
class Text:
    """What the pipeline made of a batch: embeds `[prompt, row, channel]`, pooled `[prompt, channel]` or None."""

    embeds: torch.Tensor
    pooled: torch.Tensor | None


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
    """

    def __init__(self, pipe: Any, plans: Plans, method: EmbeddingWeighting, segments: Sequence[Segment]) -> None:
        self._pipe = pipe
        self._plans = plans
        self._segments = segments
        self._recipes = [[recipe(method, plan) for plan in prompt] for prompt in plans]

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
        """The weighted text; `others` are what came of the readings."""
        embeds = text.embeds.clone()
        for block in self._blocks(text.embeds.shape[-1]):
            for number, recipes in enumerate(self._recipes):
                if (found := recipes[block.encoder]) is not None:
                    window = self._plans[number][block.encoder].window
                    place = number, block.rows, block.channels
                    base = text.embeds[place].unflatten(0, (-1, window))
                    read = [other.embeds[place].unflatten(0, (-1, window)) for other in others[: len(found.readings)]]
                    stacked = torch.stack(read) if read else base[None, :0]
                    embeds[place] = found.weigh(base, stacked).flatten(0, 1)
        return Text(embeds, text.pooled)

    def _blocks(self, width: int) -> Iterator[_Block]:
        names = [plan.name for plan in self._plans[0]]
        for segment in self._segments:
            channel = 0
            for name in segment.encoders:
                own = int(getattr(self._pipe, name).config.hidden_size)
                channels = slice(channel, channel + own)
                channel += own
                yield _Block(names.index(name), slice(segment.start, segment.stop), channels)
            if channel > width or (len(segment.encoders) == 1 and channel < width):
                raise UnsupportedModelError(
                    f"{type(self._pipe).__name__} gives text embeddings of {width} channels, but its"
                    f" {' and '.join(segment.encoders)} have {channel}; an embedding method cannot tell whose they are."
                    " Use weighting='attention'."
                )
