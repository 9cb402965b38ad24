"""Watching a pipeline's denoiser: before each call it tells every layer's site what to weigh and what to record."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from promptattn.core import KeyWeights
from promptattn.errors import CaptureError, ConfigError, PromptAttnWarning
from promptattn.maps.capture import Capture
from promptattn.maps.recorder import Recorder
from promptattn.processors.install import Installation, attention_layers
from promptattn.processors.layouts import DenoiserCall, Layout
from promptattn.processors.rows import Block, Kind, recognise
from promptattn.run.steps import StepFollower
from promptattn.selection import Steps, in_steps, match_layers

__all__ = ["DenoiserWatch", "Target"]


@dataclass(frozen=True)
class Target:
    """What one run knows of its texts. All rows are in the order of the prompts.

    Attributes:
        positive, negative: `[prompt, token, channel]`, the embeddings, by which rows are recognised.
        odds: float32 `[prompt, token]` per kind of row: what each text key is weighted by in the denoiser.
        groups: int64 `[prompt, token]`: the column of the maps that each text key belongs to, -1 for none.
        columns: the number of columns.
    """

    positive: torch.Tensor
    negative: torch.Tensor | None
    odds: dict[Kind, torch.Tensor]
    groups: torch.Tensor
    columns: int
    images_per_prompt: int | None

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
        weights: for the keys, or None when there are none.
        rows, images, groups: the batch rows that are watched, the prompt of each, and int64 `[image, token]` the
            column of each key; None without a positive row.
    """

    text: torch.Tensor
    version: int
    blocks: tuple[Block, ...]
    weights: KeyWeights | None = None
    rows: slice | None = None
    images: tuple[int, ...] = ()
    groups: torch.Tensor | None = None


class DenoiserWatch:
    """Installed for the length of a run; every pipeline call in between is followed, weighted and recorded.

    Attributes:
        text: what the cross-attention layers recorded; patches: what the self-attention layers did.
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
        self.follower = StepFollower()
        options: dict[str, Any] = dict(heads=capture.heads, per_step=capture.per_step) if capture else {}
        per_head = None
        if capture and capture.per_head:
            per_head = {name: layer.heads for name, layer in attention_layers(denoiser).items()}
        self.text = Recorder(**options, per_head=per_head)
        self.patches = Recorder(**options)
        self.calls = self.recognised = 0
        self.images: tuple[int, ...] = ()
        self.sample_size: tuple[int, int] = (0, 0)
        self._known: _Reading | None = None
        self._acted: set[Kind] = set()
        cross, own = split_layers(denoiser)
        self._weighed = set(match_layers(cross, layers, "layers"))
        self._watched: set[str] = set()
        self._patched: set[str] = set()
        if capture:
            selected = match_layers([*cross, *own], capture.layers, "Capture(layers=...)")
            self._watched = set(selected) & set(cross) if "image->text" in capture.relations else set()
            self._patched = set(selected) & set(own) if capture.patches else set()
            self._check(capture)
        needed = set(self._weighed if target.weighted else ()) | self._watched | self._patched
        self.installation = Installation(denoiser, [name for name in attention_layers(denoiser) if name in needed])
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
        self._known = None
        self.installation.remove()

    def missing(self) -> list[str]:
        """Layers that were to record and did not, in the generation that was recorded last."""
        return sorted((self._watched - set(self.text.layers)) | (self._patched - set(self.patches.layers)))

    def _check(self, capture: Capture) -> None:
        """Refuse, before anything is touched, what no layer or not every layer can record."""
        if capture.patches and not self._patched:
            raise ConfigError(
                f"Capture(layers={capture.layers!r}) selects no self-attention layer to record patches in."
            )
        if "image->text" in capture.relations and not (self._watched or self._patched):
            raise ConfigError(
                f"Capture(layers={capture.layers!r}) selects no cross-attention layer to record words in."
            )
        heads, recorded = tuple(capture.heads or ()), self._watched | self._patched
        for name, layer in attention_layers(self._denoiser).items():
            if name in recorded and not all(0 <= head < layer.heads for head in heads):
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
        if self.follower.advance(call.timestep, self._pipe.scheduler):
            self.text.reset()
            self.patches.reset()
            self.sample_size = call.size
        step, total = self.follower.step, self.follower.total
        if reading.weights is not None and in_steps(self._steps, step, total):
            self._weigh(reading)
        if self.capture and reading.rows is not None and in_steps(self.capture.steps, step, total):
            self._watch(call, reading, self.capture)

    def _after(self, denoiser: torch.nn.Module, args: Any, output: Any) -> None:
        self._clear()

    def _clear(self) -> None:
        for site in self.installation.sites.values():
            site.clear()

    def _read(self, text: torch.Tensor) -> _Reading:
        # A pipeline hands over the same tensor at every step: compare once, not once a step (a device sync).
        version = -1 if text.is_inference() else text._version
        if self._known is None or self._known.text is not text or self._known.version != version:
            self._known = self._reading(text, version)
        return self._known

    def _reading(self, text: torch.Tensor, version: int) -> _Reading:
        target = self._target
        blocks = recognise(
            text,
            target.positive,
            target.negative,
            images_per_prompt=target.images_per_prompt,
            negative_first=self._layout.negative_first,
            perturbed=bool(getattr(self._pipe, "do_perturbed_attention_guidance", False)),
            guided=getattr(self._pipe, "do_classifier_free_guidance", None),
        )
        weights = None
        if any(block.kind in target.weighted for block in blocks):
            odds = torch.cat([target.odds[b.kind].repeat_interleave(b.images_per_prompt, dim=0) for b in blocks])
            index = (odds != 1).any(dim=0).nonzero().flatten()
            weights = KeyWeights(index.to(text.device), odds[:, index].to(text.device))
        watched = next((block for block in blocks if block.kind == "positive"), None)
        if watched is None:
            return _Reading(text, version, blocks, weights)
        images = torch.arange(len(target.groups)).repeat_interleave(watched.images_per_prompt)
        groups = target.groups[images].to(text.device)
        return _Reading(text, version, blocks, weights, watched.rows, tuple(images.tolist()), groups)

    def _weigh(self, reading: _Reading) -> None:
        self._acted |= self._target.weighted & {block.kind for block in reading.blocks}
        for name, site in self.installation.sites.items():
            if name in self._weighed:
                site.key_weights = reading.weights
                site.keys = reading.text.shape[1]

    def _watch(self, call: DenoiserCall, reading: _Reading, capture: Capture) -> None:
        assert reading.rows is not None
        assert reading.groups is not None
        self.images = reading.images
        common: dict[str, Any] = dict(step=self.follower.step, grids=call.grids, rows=reading.rows)
        for name, site in self.installation.sites.items():
            if name in self._watched:
                site.columns = self.text.words(name, groups=reading.groups, columns=self._target.columns, **common)
                site.keys = reading.text.shape[1]
            elif name in self._patched:
                patches, device = capture.patches, reading.text.device
                site.columns = self.patches.places(name, patches=patches, device=device, **common)

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


def split_layers(denoiser: torch.nn.Module) -> tuple[list[str], list[str]]:
    """Names of the cross-attention and of the self-attention layers, each in the order in which the modules stand.

    Raises:
        CaptureError: when there is no cross-attention at all.
    """
    layers = attention_layers(denoiser)
    cross = [name for name, layer in layers.items() if getattr(layer, "is_cross_attention", False)]
    if not cross:
        raise CaptureError(f"{type(denoiser).__name__} has no cross-attention layer, so words have no place in it.")
    return cross, [name for name in layers if name not in set(cross)]
