"""Watching a pipeline's denoiser: before each call it tells every layer's site what to weigh and what to record."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import torch

from promptattn.core import SAFE_FLOOR, KeyWeights, Rule
from promptattn.errors import CaptureError, ConfigError, PromptAttnWarning
from promptattn.maps.capture import RELATIONS, Capture, Relation
from promptattn.maps.recorder import Recorder, Watched
from promptattn.processors.install import Installation, attention_layers
from promptattn.processors.layouts import DenoiserCall, LayerKind, Layout
from promptattn.processors.rows import Block, Kind, recognise
from promptattn.processors.rules import check_rule
from promptattn.run.steps import StepCounter, StepFollower
from promptattn.selection import Steps, in_steps, match_layers

__all__ = ["DenoiserWatch", "Rows", "Target"]

Rows = Literal["image", "all"]

# Odds of a word that has next to no attention can be so large that they outgrow what the correction of the full
# kernel's output can still tell from rounding; the merge can.
_LARGEST_GENTLE = 1e4


@dataclass(frozen=True)
class Target:
    """What one run knows of its texts. All rows are in the order of the prompts.

    Attributes:
        positive, negative: `[prompt, token, channel]`, the embeddings, by which rows are recognised.
        given_negative: the negative embeddings as the pipeline is given them, each prompt's repeated for its images.
        odds: float32 `[prompt, token]` per kind of row: what each text key is weighted by in the denoiser.
        groups: int64 `[prompt, token]`: the column of the maps that each text key belongs to, -1 for none.
        columns: the number of columns.
        text_rows: int64 `[row]`: the rows of the text whose own attention is recorded, in joint attention.
        images_per_prompt: how often each prompt's rows are repeated, if that is known.
        rows: whose attention weights change in joint attention: that of the `image`, or of `all` rows.
        rule: by which weights act; see :class:`promptattn.core.KeyWeights`.
    """

    positive: torch.Tensor
    negative: torch.Tensor | None
    given_negative: torch.Tensor | None
    odds: dict[Kind, torch.Tensor]
    groups: torch.Tensor
    columns: int
    text_rows: torch.Tensor
    images_per_prompt: int | None
    rows: Rows = "image"
    rule: Rule = "odds"

    @cached_property
    def weighted(self) -> frozenset[Kind]:
        """The kinds of rows that have a weight."""
        return frozenset(kind for kind, odds in self.odds.items() if bool((odds != 1).any()))


@dataclass(frozen=True)
class _Reading:
    """What one batch of text embeddings means to the run; the same at every step, so it is on the device already.

    Attributes:
        text, version: the embeddings that were read, and the state they were in.
        blocks: whose rows they are; empty when they are not this run's.
        weights: for the rows of the text, or None when there are none.
        rows, images, watched: the batch rows that are watched, the prompt of each, and what of them is watched; None
            without a positive row.
    """

    text: torch.Tensor
    version: int
    blocks: tuple[Block, ...]
    weights: KeyWeights | None = None
    rows: slice | None = None
    images: tuple[int, ...] = ()
    watched: Watched | None = None


class DenoiserWatch:
    """Installed for the length of a run; every pipeline call in between is followed, weighted and recorded.

    Attributes:
        recorders: what was recorded, by relation.
        sample_size, total: of the image that was recorded last: (height, width) of its latents, and its steps.
        calls, recognised: how many denoiser calls there were, and in how many the text was this run's.
    """

    def __init__(
        self,
        pipe: Any,
        denoiser: torch.nn.Module,
        layout: Layout,
        target: Target,
        *,
        capture: Capture | None,
        layers: Sequence[str] | str | None,
        steps: Steps,
    ) -> None:
        self._pipe = pipe
        self._denoiser = denoiser
        self._layout = layout
        self._target = target
        self.capture = capture
        self._steps = steps
        self.follower, self._stepping = StepFollower(), StepCounter()
        self.calls = self.recognised = 0
        self.images: tuple[int, ...] = ()
        self.sample_size: tuple[int, int] = (0, 0)
        self.total = 0
        self._generation = 0
        self._known: list[_Reading] = []
        self._acted: set[Kind] = set()
        self._kinds = layout.layers(denoiser)
        readers = _readers(denoiser, self._kinds)
        self._weighed = set(match_layers(readers, layers, "layers", kind="attention layer that sees text"))
        if target.weighted:
            check_rule(target.rule, denoiser, self._weighed, self._kinds)
        self._relations: dict[str, tuple[Relation, ...]] = {}
        self.recorders: dict[Relation, Recorder] = {}
        if capture:
            self._relations = _relations(denoiser, self._kinds, capture)
            self._check_heads(capture)
            self.recorders = {
                relation: self._recorder(relation, capture)
                for relation in dict.fromkeys(each for some in self._relations.values() for each in some)
            }
        needed = set(self._weighed if target.weighted else ()) | set(self._relations)
        self.installation = Installation(denoiser, [name for name in self._kinds if name in needed])
        self._handles: list[Any] = []
        try:
            self._handles.append(denoiser.register_forward_pre_hook(self._before, with_kwargs=True))
            self._handles.append(denoiser.register_forward_hook(self._after))
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Take hooks and processors out; see :meth:`Installation.remove`."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._known = []
        self._stepping.release()
        self.installation.remove()

    def missing(self) -> list[str]:
        """Layers that were to record and did not, in the generation that was recorded last."""
        return sorted(
            name
            for name, relations in self._relations.items()
            if any(name not in self.recorders[relation].layers for relation in relations)
        )

    def _recorder(self, relation: Relation, capture: Capture) -> Recorder:
        apart = capture.per_head and relation == "image->text"
        heads = {name: int(layer.heads) for name, layer in attention_layers(self._denoiser).items()}
        # Between words a mean over the run is all that is kept.
        per_step = capture.per_step and relation != "text->text"
        return Recorder(heads=capture.heads, per_step=per_step, per_head=heads if apart else None)

    def _check_heads(self, capture: Capture) -> None:
        """Refuse, before anything is touched, heads that not every recorded layer has."""
        heads = tuple(capture.heads or ())
        for name, layer in attention_layers(self._denoiser).items():
            if name in self._relations and not all(0 <= head < layer.heads for head in heads):
                raise ConfigError(
                    f"Capture(heads={heads}): {name} has {layer.heads} heads, 0 to {layer.heads - 1}; choose heads"
                    " that every captured layer has, or fewer layers."
                )

    # Hooks.

    def _before(self, denoiser: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._clear()
        self.installation.verify()
        call = self._layout.read(denoiser, args, kwargs)
        self.calls += 1
        reading = self._read(call.text)
        if not reading.blocks:
            return
        self.recognised += 1
        self.follower.advance(call.timestep, self._pipe.scheduler, self._stepping.count(self._pipe.scheduler))
        step, total = self.follower.step, self.follower.total
        if reading.rows is not None and self._generation != self.follower.generations:
            self._begin(call, total)
        if reading.weights is not None and in_steps(self._steps, step, total):
            self._weigh(call, reading)
        recorded = self.capture is not None and in_steps(self.capture.steps, step, total)
        if recorded and reading.rows is not None and not call.worsened:
            self._watch(call, reading)

    def _begin(self, call: DenoiserCall, total: int) -> None:
        """Forget the image before. Rows of the negative prompt alone do not: another run's may have the same text."""
        self._generation = self.follower.generations
        for recorder in self.recorders.values():
            recorder.reset()
        self.sample_size, self.total = call.size, total

    def _after(self, denoiser: torch.nn.Module, args: Any, output: Any) -> None:
        self._clear()

    def _clear(self) -> None:
        for site in self.installation.sites.values():
            site.clear()

    def _read(self, text: torch.Tensor) -> _Reading:
        # A pipeline hands over the same tensors at every step, one or, for prompt and negative prompt apart, two:
        # compare each once, not once a step (a device sync).
        version = -1 if text.is_inference() else text._version
        known = next((each for each in self._known if each.text is text and each.version == version), None)
        if known is None:
            known = self._reading(text, version)
            self._known = [*self._known[-1:], known]
        return known

    def _reading(self, text: torch.Tensor, version: int) -> _Reading:
        target = self._target
        blocks = self._blocks(text)
        weights = None
        if any(block.kind in target.weighted for block in blocks):
            odds = torch.cat([target.odds[b.kind].repeat_interleave(b.images_per_prompt, dim=0) for b in blocks])
            index = (odds != 1).any(dim=0).nonzero().flatten()
            floor = _floor(odds[:, index])
            weights = KeyWeights(index.to(text.device), odds[:, index].to(text.device), floor=floor, rule=target.rule)
        watched = next((block for block in blocks if block.kind == "positive"), None)
        if watched is None:
            return _Reading(text, version, blocks, weights)
        images = torch.arange(len(target.groups)).repeat_interleave(watched.images_per_prompt)
        groups = target.groups[images]
        kept = (groups >= 0).any(dim=0).nonzero().flatten()
        picked = Watched(
            groups=groups[:, kept].to(text.device),
            columns=target.columns,
            key_rows=kept.to(text.device),
            text_rows=target.text_rows.to(text.device),
            patches=self.capture.patches if self.capture else (),
        )
        return _Reading(text, version, blocks, weights, watched.rows, tuple(images.tolist()), picked)

    def _blocks(self, text: torch.Tensor) -> tuple[Block, ...]:
        target = self._target
        if text is target.given_negative:
            # In a call of its own, and the very tensor: so it is no prompt, not even one of the same text.
            return (Block("negative", 0, len(text), len(text) // len(target.positive)),)
        return recognise(
            text,
            target.positive,
            target.negative,
            images_per_prompt=target.images_per_prompt,
            negative_first=self._layout.negative_first,
            perturbed=bool(getattr(self._pipe, "do_perturbed_attention_guidance", False)),
            guided=getattr(self._pipe, "do_classifier_free_guidance", None),
        )

    def _weigh(self, call: DenoiserCall, reading: _Reading) -> None:
        self._acted |= self._target.weighted & {block.kind for block in reading.blocks}
        assert reading.weights is not None
        placed: dict[LayerKind, KeyWeights] = {}
        for name, site in self.installation.sites.items():
            if name in self._weighed:
                kind = self._kinds[name]
                if kind not in placed:
                    placed[kind] = call.place(kind, reading.weights, image_only=self._target.rows == "image")
                site.key_weights = placed[kind]
                site.keys = call.keys(kind)

    def _watch(self, call: DenoiserCall, reading: _Reading) -> None:
        assert reading.rows is not None
        assert reading.watched is not None
        self.images = reading.images
        common: dict[str, Any] = dict(step=self.follower.step, rows=reading.rows)
        for name, site in self.installation.sites.items():
            if relations := self._relations.get(name):
                kind = self._kinds[name]
                places = partial(call.places, kind)
                site.columns = [
                    self.recorders[each].watch(name, each, reading.watched, places, **common) for each in relations
                ]
                site.keys = call.keys(kind)

    # What went wrong, in words.

    def why_empty(self) -> str | None:
        """The reason why nothing was recorded or weighted, or None when something was."""
        if not self.calls:
            return "the pipeline has not been called inside the context yet: call pipe(**run.inputs)"
        if not self.recognised:
            return (
                f"the denoiser was called {self.calls} times, but with other text embeddings than this run's:"
                " call the pipeline with pipe(**run.inputs) and without prompt or prompt_embeds of your own"
            )
        return None

    def warn_if_idle(self) -> None:
        """Say so when pipeline calls were made, but not this run's, or when weights had no chance to act in them."""
        if not self.calls:
            return
        reason = self.why_empty()
        if reason and (self._target.weighted or self.capture):
            _warn(f"nothing was weighted or recorded: {reason}.")
        elif not reason and (idle := self._target.weighted - self._acted):
            _warn(self._why_idle(idle))

    def _why_idle(self, idle: frozenset[Kind]) -> str:
        total = self.follower.total
        if not any(in_steps(self._steps, step, total) for step in range(total)):
            return f"the weights did not act: steps={self._steps!r} selects none of the {total} steps that were made."
        if idle == {"negative"}:
            return "the weights in the negative prompt did not act: the pipeline ran without guidance, so without it."
        return f"the weights did not act: the pipeline stopped before any step of steps={self._steps!r}."


def _warn(message: str) -> None:
    # To the line of the user's with statement, past warn_if_idle and __exit__.
    warnings.warn(message, PromptAttnWarning, stacklevel=4)


def _floor(odds: torch.Tensor) -> float | None:
    """The bound that lets the core correct the full kernel's output, which saves a copy of long keys and values."""
    size = odds.abs()
    gentle = float(size.min()) >= SAFE_FLOOR and float(size.max()) <= _LARGEST_GENTLE
    return SAFE_FLOOR if gentle else None


_BY_KIND: dict[LayerKind, tuple[Relation, ...]] = {
    "cross": ("image->text",),
    "joint": RELATIONS,
    "image": ("image->image",),
}


def _readers(denoiser: torch.nn.Module, kinds: Mapping[str, LayerKind]) -> list[str]:
    """Names of the layers that see text, in the order in which the modules stand.

    Raises:
        CaptureError: when there is none at all.
    """
    readers = [name for name, kind in kinds.items() if kind != "image"]
    if not readers:
        raise CaptureError(f"{type(denoiser).__name__} has no cross-attention layer, so words have no place in it.")
    return readers


def _relations(
    denoiser: torch.nn.Module, kinds: Mapping[str, LayerKind], capture: Capture
) -> dict[str, tuple[Relation, ...]]:
    """What each layer is to record; layers that record nothing are left out.

    Raises:
        ConfigError: when no layer can record what was asked for.
    """
    wanted = {*capture.relations, *(["image->image"] if capture.patches else [])}
    selected = match_layers(list(kinds), capture.layers, "Capture(layers=...)")
    chosen = {name: tuple(each for each in _BY_KIND[kinds[name]] if each in wanted) for name in selected}
    there = {relation for relations in chosen.values() for relation in relations}
    anywhere = {relation for kind in kinds.values() for relation in _BY_KIND[kind]}
    if "text->image" in wanted - anywhere:
        raise ConfigError(
            f"Capture(relations=...): in {type(denoiser).__name__} text does not look at the image (it has no joint"
            " attention), so there is no text->image to record."
        )
    if "image->image" in wanted - there:
        raise ConfigError(f"Capture(layers={capture.layers!r}) selects no self-attention layer to record patches in.")
    if "image->text" in wanted - there and not capture.patches:
        raise ConfigError(f"Capture(layers={capture.layers!r}) selects no cross-attention layer to record words in.")
    if "text->image" in wanted - there:
        raise ConfigError(f"Capture(layers={capture.layers!r}) selects no joint-attention layer to record words in.")
    return {name: relations for name, relations in chosen.items() if relations}
