"""Batches of plain prompts as the pipeline's encoders read them: what the denoiser is given at one step."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from promptattn.processors.rows import Kind
from promptattn.prompt import EncoderPlan, Prompt, TokenPlan, plan
from promptattn.prompt.mixture import mixture
from promptattn.prompt.planning import widened
from promptattn.prompt.templates import template_of
from promptattn.run.text.encoding import Encoded, EncoderMaps, encode, zeros_like
from promptattn.run.text.slots import text_weights
from promptattn.weighting import Method

__all__ = ["Strand", "Wording", "Wordings", "shares_of", "versions_of"]


@dataclass(frozen=True, eq=False)
class Strand:
    """One plain prompt for every row of a batch.

    Attributes:
        plans: for each prompt of the batch.
        mixing: per kind, for each prompt: what its embeddings are multiplied by before strands are added. All 1 where
            there is one strand, which is so unless prompts are blended.
    """

    plans: tuple[TokenPlan, ...]
    mixing: Mapping[Kind, tuple[float, ...]]

    def encoders(self, kind: Kind) -> list[tuple[EncoderPlan, ...]]:
        return [each.encoders if kind == "positive" else each.negative for each in self.plans]


Strands = tuple[Strand, ...]


def versions_of(strands: Iterable[Strand], prompts: int) -> list[dict[int, tuple[EncoderPlan, ...]]]:
    """For each of so many prompts its different plans, in the order in which they come.

    By identity, `id` to plans: equal texts may stand at two places of what the user wrote.
    """
    versions: list[dict[int, tuple[EncoderPlan, ...]]] = [{} for _ in range(prompts)]
    for strand in strands:
        for known, plans in zip(versions, strand.plans, strict=True):
            known.setdefault(id(plans.encoders), plans.encoders)
    return versions


@dataclass(frozen=True, eq=False)
class Wording:
    """A batch of plain prompts, or of blends of them, encoded.

    Attributes:
        strands: what stands in the rows; with several, every row is a mixture of one token of each.
        chunks: windows of the text encoders, the same for all prompts and for their negatives.
        positive, negative: the embeddings; `negative` is None where the pipeline is given none.
        odds: float32 `[prompt, row]` per kind: what each text key is weighted by in the denoiser. In a blend the mean
            of its strands' odds, by the size of their mixing weights.
    """

    strands: Strands
    chunks: int
    positive: Encoded
    negative: Encoded | None
    odds: Mapping[Kind, torch.Tensor]
    maps: tuple[tuple[EncoderMaps, ...], ...]

    @cached_property
    def weighted(self) -> frozenset[Kind]:
        """The kinds of rows that have a weight."""
        return frozenset(kind for kind, odds in self.odds.items() if bool((odds != 1).any()))

    @cached_property
    def shares(self) -> torch.Tensor:
        """How much of each prompt's rows is each strand's, float32 `[strand, prompt]`, together 1 for each prompt."""
        return shares_of([strand.mixing["positive"] for strand in self.strands])

    def encoded(self, kind: Kind) -> Encoded:
        """The embeddings of one kind of rows."""
        if kind == "positive":
            return self.positive
        assert self.negative is not None
        return self.negative


class Wordings:
    """Plans and encodes the wordings of one run, each once.

    Args:
        without_negative: whether the user gave no negative prompt at all.
        takes_negative: whether the pipeline is to be given negative embeddings.
    """

    def __init__(
        self,
        pipe: Any,
        *,
        weighting: Method,
        clip_skip: int | None,
        max_sequence_length: int | None,
        record: bool,
        without_negative: bool,
        takes_negative: bool,
    ) -> None:
        self._pipe = pipe
        self._weighting = weighting
        self._clip_skip = clip_skip
        self._text_length = max_sequence_length
        self._record = record
        self._takes_negative = takes_negative
        self._zeros = without_negative and bool(pipe.config.get("force_zeros_for_empty_prompt", False))
        self._readings: dict[tuple[_Identity, bool], tuple[EncoderPlan, ...]] = {}
        self._plans: dict[tuple[_Identity, _Identity], TokenPlan] = {}
        self._batches: dict[tuple[int, ...], tuple[tuple[TokenPlan, ...], tuple[TokenPlan, ...]]] = {}
        self._strands: dict[Any, Strand] = {}
        self._known: dict[tuple[Strands, int], Wording] = {}

    def strands(self, prompts: Sequence[Prompt], negatives: Sequence[Prompt | None]) -> Strands:
        """What stands in the rows of these prompts, none of which is scheduled or composed. Equal for equal ones."""
        positive = [mixture(prompt) for prompt in prompts]
        negative = [mixture(Prompt() if prompt is None else prompt) for prompt in negatives]
        count = max(len(mixed) for mixed in (*positive, *negative))
        for mixed in (*positive, *negative):
            mixed += [(mixed[0][0], 0.0)] * (count - len(mixed))
        return tuple(
            self._strand([each[at] for each in positive], [each[at] for each in negative]) for at in range(count)
        )

    def wording(self, strands: Strands, chunks: int) -> Wording:
        """The strands, encoded in this number of chunks."""
        key = strands, chunks
        if key not in self._known:
            positive, maps = self._mixed(strands, "positive", chunks)
            negative = self._negative(strands, positive, chunks)
            self._known[key] = Wording(
                strands=strands,
                chunks=chunks,
                positive=positive,
                negative=negative,
                odds={
                    "positive": self._odds(strands, "positive", positive, chunks),
                    "negative": torch.ones(0, 0)
                    if negative is None
                    else self._odds(strands, "negative", negative, chunks),
                },
                maps=maps,
            )
        return self._known[key]

    def _strand(self, positive: Sequence[tuple[Prompt, float]], negative: Sequence[tuple[Prompt, float]]) -> Strand:
        plans = tuple(self._plan(one, other) for (one, _), (other, _) in zip(positive, negative, strict=True))
        if len(plans) > 1:
            plans = self._widened(plans)
        mixing: dict[Kind, tuple[float, ...]] = {
            "positive": tuple(weight for _, weight in positive),
            "negative": tuple(weight for _, weight in negative),
        }
        key = (*map(id, plans), *mixing.values())
        if key not in self._strands:
            self._strands[key] = Strand(plans, mixing)
        return self._strands[key]

    def _widened(self, plans: tuple[TokenPlan, ...]) -> tuple[TokenPlan, ...]:
        """The same in windows of one length, where each has one as long as its prompt: the very same plans again."""
        key = tuple(map(id, plans))
        if key not in self._batches:
            # Kept with what it was made of, so that no other plan gets the same id.
            self._batches[key] = plans, widened(plans)
        return self._batches[key][1]

    def _plan(self, prompt: Prompt, negative: Prompt) -> TokenPlan:
        key = (_identity(prompt), _identity(negative))
        if key not in self._plans:
            self._plans[key] = TokenPlan(
                prompt=prompt,
                negative_prompt=negative,
                encoders=self._read(prompt),
                negative=self._read(negative, negative=True),
            )
        return self._plans[key]

    def _read(self, prompt: Prompt, *, negative: bool = False) -> tuple[EncoderPlan, ...]:
        """The prompt's plans: the very same ones wherever it is asked for. negative: as a negative prompt is read."""
        template = template_of(self._pipe)
        apart = negative and template is not None and not template.negative
        key = _identity(prompt), apart
        if key not in self._readings:
            texts = (Prompt(), prompt) if apart else (prompt, None)
            found = plan(self._pipe, *texts, max_sequence_length=self._text_length)
            self._readings[key] = found.negative if apart else found.encoders
        return self._readings[key]

    def _negative(self, strands: Strands, positive: Encoded, chunks: int) -> Encoded | None:
        if not self._takes_negative:
            return None
        return zeros_like(positive) if self._zeros else self._mixed(strands, "negative", chunks)[0]

    def _mixed(self, strands: Strands, kind: Kind, chunks: int) -> tuple[Encoded, tuple[tuple[EncoderMaps, ...], ...]]:
        """The strands' embeddings in one, and what was recorded of each."""
        used = [strand for strand in strands if any(strand.mixing[kind])] or list(strands[:1])
        encoded = [self._encode(strand, kind, chunks) for strand in used]
        mixing = [strand.mixing[kind] for strand in used]
        maps = dict(zip(used, (each.maps for each in encoded), strict=True))
        found = tuple(maps.get(strand, ()) for strand in strands)
        if len(used) == 1 and set(mixing[0]) == {1.0}:
            return encoded[0], found
        pooled = [each.pooled for each in encoded if each.pooled is not None]
        embeds = _sum([each.embeds for each in encoded], mixing)
        # A row of a mixture is one to look at where it is in any of the texts.
        masks = [each.mask for each in encoded if each.mask is not None]
        mask = torch.stack(masks).amax(0) if masks else None
        return replace(encoded[0], embeds=embeds, pooled=_sum(pooled, mixing) if pooled else None, mask=mask), found

    def _encode(self, strand: Strand, kind: Kind, chunks: int) -> Encoded:
        positive = kind == "positive"
        return encode(
            self._pipe,
            [tuple(encoder.padded(chunks) for encoder in encoders) for encoders in strand.encoders(kind)],
            weighting=self._weighting,
            # The stock pipelines leave clip_skip out of the negative prompt.
            clip_skip=self._clip_skip if positive else None,
            max_sequence_length=self._text_length,
            record=self._record and positive,
        )

    def _odds(self, strands: Strands, kind: Kind, encoded: Encoded, chunks: int) -> torch.Tensor:
        tables = [
            torch.tensor(
                [
                    [self._weighting.in_denoiser(weight) for weight in text_weights(plans, encoded.segments, chunks)]
                    for plans in strand.encoders(kind)
                ],
                dtype=torch.float32,
            )
            for strand in strands
        ]
        if len(tables) == 1:
            return tables[0]
        shares = shares_of([strand.mixing[kind] for strand in strands])
        return (torch.stack(tables) * shares[..., None]).sum(0)


_Identity = tuple[Prompt, tuple[tuple[int, ...], ...]]


def _identity(prompt: Prompt) -> _Identity:
    """Equal for prompts of the same text and weights from the same places of what the user wrote."""
    return prompt, tuple(span.origins for span in prompt.spans)


def shares_of(mixing: Sequence[Sequence[float]]) -> torch.Tensor:
    """From weights `[part, prompt]` to their sizes, which together are 1 for each prompt."""
    size = torch.tensor(mixing, dtype=torch.float32).abs()
    total = size.sum(0)
    # A prompt all of whose weights are 0 is looked at all the same, by all parts alike.
    return torch.where(total > 0, size / total, torch.full_like(size, 1 / len(mixing)))


def _sum(tensors: Sequence[torch.Tensor], weights: Sequence[Sequence[float]]) -> torch.Tensor:
    """Tensors `[prompt, ...]`, each times its weight `[prompt]`, added in at least float32."""
    dtype = tensors[0].dtype
    wide = torch.promote_types(dtype, torch.float32)
    total = torch.zeros_like(tensors[0], dtype=wide)
    for tensor, row in zip(tensors, weights, strict=True):
        factor = torch.tensor(row, dtype=wide, device=tensor.device)
        total += factor.view(-1, *[1] * (tensor.ndim - 1)) * tensor
    return total.to(dtype)
