"""What a batch of text embeddings means to a run: whose rows they are, and for each moment what is done to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from promptattn.core import SAFE_FLOOR, KeyWeights, Rule
from promptattn.maps.recorder import Watched
from promptattn.processors.rows import Block
from promptattn.run.text.script import Moment, Timeline
from promptattn.run.text.wordings import Wording

__all__ = ["Batch", "Told"]

# Odds of a word that has next to no attention can be so large that they outgrow what the correction of the full
# kernel's output can still tell from rounding; the merge can.
_LARGEST_GENTLE = 1e4


@dataclass(frozen=True)
class Told:
    """What one denoiser call is given, and what its layers are told, on its device.

    Attributes:
        wording: whose text it reads.
        blocks: whose rows it has.
        text, pooled, mask: what stands in the place of the text that the pipeline gave; None leaves that.
        weights: for the rows of the text, or None when there are none.
        watched: what of the rows of the prompts is watched.
    """

    wording: Wording
    blocks: tuple[Block, ...]
    text: torch.Tensor | None
    pooled: torch.Tensor | None
    weights: KeyWeights | None
    watched: tuple[Watched, ...] = ()
    mask: torch.Tensor | None = None


class Batch:
    """One tensor of text embeddings that a pipeline gives its denoiser, the first of so many `tokens` rows of text.

    A pipeline hands over the same tensor at every step, so all that is derived from it is kept, on the device: nothing
    here waits for the device but the recognition of its rows, once.

    Attributes:
        text, version: the embeddings, and the state they were in.
        blocks: whose rows they are; empty when they are not this run's.
        rows, images: the batch rows that are watched, and the prompt of each; None and () without a positive row.
    """

    def __init__(
        self,
        text: torch.Tensor,
        blocks: tuple[Block, ...],
        carrier: Wording,
        *,
        tokens: int,
        rule: Rule,
        patches: Sequence[tuple[float, float]],
    ) -> None:
        self.text = text
        self.version = state_of(text)
        self.blocks = blocks
        self._carrier = carrier
        self._tokens = tokens
        self._rule = rule
        self._patches = patches
        watched = next((block for block in blocks if block.kind == "positive"), None)
        self.rows = None if watched is None else watched.rows
        self._shift = 0 if watched is None else watched.shift
        self.images: tuple[int, ...] = () if watched is None else self._prompts(watched)
        self._told: dict[tuple[Moment, int], Told] = {}
        self._unguided: dict[Wording, Told] = {}
        self._compositions: dict[Moment, tuple[torch.Tensor, torch.Tensor]] = {}

    def is_of(self, text: torch.Tensor) -> bool:
        """Whether this is what is known of `text`, which has not changed since."""
        return text is self.text and state_of(text) == self.version

    def told(self, timeline: Timeline, moment: Moment, part: int = 0) -> Told:
        """What a call is told that reads one wording of this moment."""
        key = moment, part
        if key not in self._told:
            told = self._of(moment.wordings[part], self.blocks, as_given=part == 0)
            self._told[key] = replace(told, watched=tuple(self._watched(timeline, moment, part)))
        return self._told[key]

    def unguided(self, moment: Moment) -> Told:
        """What a call is told that reads the negative prompts in the place of the prompts."""
        wording = moment.wordings[0]
        if wording not in self._unguided:
            blocks = tuple(replace(each, kind="negative") for each in self.blocks)
            self._unguided[wording] = self._of(wording, blocks, as_given=False)
        return self._unguided[wording]

    def composition(self, moment: Moment) -> tuple[torch.Tensor, torch.Tensor]:
        """The weights of the predictions of a moment, float32 `[wording, image]`, and whether each image is composed of
        several, bool `[image]`."""
        if moment not in self._compositions:
            images, device = list(self.images), self.text.device
            weights = torch.tensor(moment.weights, dtype=torch.float32)[:, images]
            concerned = torch.tensor(moment.composed)[images]
            self._compositions[moment] = weights.to(device), concerned.to(device)
        return self._compositions[moment]

    def _prompts(self, block: Block) -> tuple[int, ...]:
        """The prompt of each row of a block."""
        count = (block.stop - block.start) // block.images_per_prompt
        return tuple(prompt for prompt in range(count) for _ in range(block.images_per_prompt))

    def _of(self, wording: Wording, blocks: tuple[Block, ...], *, as_given: bool) -> Told:
        """as_given: whether the call comes with the text of the pipeline, so that the carrier's can stay."""
        text = pooled = mask = weights = None
        if wording is not self._carrier or not as_given:
            encoded = [(wording.encoded(block.kind), block.images_per_prompt) for block in blocks]
            text = _rows([(each.embeds, times) for each, times in encoded]).to(self.text)
            vectors = [(each.pooled, times) for each, times in encoded if each.pooled is not None]
            pooled = _rows(vectors).to(self.text.device) if vectors else None
            masks = [(each.mask, times) for each, times in encoded if each.mask is not None]
            mask = _rows(masks).to(self.text.device) if masks else None
        if any(block.kind in wording.weighted for block in blocks):
            odds = self._odds(wording, blocks, width=self._tokens if text is None else int(text.shape[1]))
            index = (odds != 1).any(dim=0).nonzero().flatten()
            picked = odds[:, index]
            device = self.text.device
            weights = KeyWeights(index.to(device), picked.to(device), floor=_floor(picked), rule=self._rule)
        return Told(wording, blocks, text, pooled, weights, mask=mask)

    def _odds(self, wording: Wording, blocks: Sequence[Block], width: int) -> torch.Tensor:
        """float32 `[batch, row]`; 1 in rows of the batch that belong to no block."""
        odds = torch.ones(max(len(self.text), blocks[-1].stop), width)
        for block in blocks:
            planned = wording.odds[block.kind].repeat_interleave(block.images_per_prompt, dim=0)
            odds[block.rows] = _shifted(planned, block.shift, width, fill=1.0)
        return odds

    def _watched(self, timeline: Timeline, moment: Moment, part: int) -> Sequence[Watched]:
        if self.rows is None:
            return ()
        wording, columns, images = moment.wordings[part], timeline.columns, list(self.images)
        device = self.text.device
        found: list[Watched] = []
        for strand, share in enumerate(wording.shares * moment.shares[part]):
            if not share.any():
                continue
            shift, width = self._shift, self._tokens if wording is self._carrier else None
            groups = _shifted(columns.groups[wording][strand, images], shift, width, fill=-1)
            kept = (groups >= 0).any(dim=0).nonzero().flatten()
            found.append(
                Watched(
                    groups=groups[:, kept].to(device),
                    columns=columns.count,
                    key_rows=kept.to(device),
                    text_rows=columns.text_rows(wording, strand).to(device) + shift,
                    patches=self._patches,
                    part=part * len(wording.strands) + strand,
                    text=timeline.texts.index((wording, strand)),
                    shares=None if bool((share == 1).all()) else share[images].to(device),
                )
            )
        return found


def state_of(text: torch.Tensor) -> int:
    """A number that changes when the tensor is written to; inference tensors do not tell."""
    return -1 if text.is_inference() else text._version


def _rows(tensors: Sequence[tuple[torch.Tensor, int]]) -> torch.Tensor:
    """`[prompt, ...]` of every block, each prompt repeated for its images, one block after the other."""
    return torch.cat([tensor.repeat_interleave(times, dim=0) for tensor, times in tensors])


def _shifted(planned: torch.Tensor, shift: int, width: int | None, *, fill: float) -> torch.Tensor:
    """`[image, row]` as it was planned to so many rows, the first one `shift` rows further back.

    width: None for as many rows as there are. What does not fit is what a text is filled up with.
    """
    if width is None or (shift == 0 and planned.shape[1] == width):
        return planned
    moved = planned.new_full((len(planned), width), fill)
    start, stop = max(shift, 0), min(shift + planned.shape[1], width)
    moved[:, start:stop] = planned[:, start - shift : stop - shift]
    return moved


def _floor(odds: torch.Tensor) -> float | None:
    """The bound that lets the core correct the full kernel's output, which saves a copy of long keys and values."""
    size = odds.abs()
    gentle = float(size.min()) >= SAFE_FLOOR and float(size.max()) <= _LARGEST_GENTLE
    return SAFE_FLOOR if gentle else None
