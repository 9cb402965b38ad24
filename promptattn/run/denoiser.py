"""Watching a pipeline's denoiser: before each call it tells every layer's site what to weigh and what to record."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from promptattn.core import KeyWeights
from promptattn.errors import CaptureError, PromptAttnWarning
from promptattn.maps.capture import Capture
from promptattn.maps.recorder import Recorder
from promptattn.processors.install import Installation, attention_layers
from promptattn.processors.layouts import DenoiserCall, Layout
from promptattn.processors.rows import Block, recognise
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
    odds: dict[str, torch.Tensor]
    groups: torch.Tensor
    columns: int
    images_per_prompt: int | None

    @property
    def weighted(self) -> bool:
        return any(bool((odds != 1).any()) for odds in self.odds.values())


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
        self.text, self.patches = Recorder(**options), Recorder(**options)
        self.calls = self.recognised = 0
        self.images: tuple[int, ...] = ()
        self.sample_size: tuple[int, int] = (0, 0)
        self._known: tuple[torch.Tensor, int, tuple[Block, ...]] | None = None
        cross, own = split_layers(denoiser)
        self._weighed = set(match_layers(cross, layers, "layers"))
        self._watched: set[str] = set()
        self._patched: set[str] = set()
        if capture:
            selected = match_layers([*cross, *own], capture.layers, "Capture(layers=...)")
            self._watched = set(selected) & set(cross) if "image->text" in capture.relations else set()
            self._patched = set(selected) & set(own) if capture.patches else set()
        needed = set(self._weighed if target.weighted else ()) | self._watched | self._patched
        self.installation = Installation(denoiser, [name for name in attention_layers(denoiser) if name in needed])
        self._handles = [
            denoiser.register_forward_pre_hook(self._before, with_kwargs=True),
            denoiser.register_forward_hook(self._after),
        ]

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

    # Hooks.

    def _before(self, denoiser: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._clear()
        self.installation.verify()
        call = self._layout.read(denoiser, args, kwargs)
        self.calls += 1
        blocks = self._blocks(call.text)
        if not blocks:
            return
        self.recognised += 1
        if self.follower.advance(call.timestep, self._pipe.scheduler):
            self.text.reset()
            self.patches.reset()
            self.sample_size = call.size
        if self._target.weighted and in_steps(self._steps, self.follower.step, self.follower.total):
            self._weigh(call, blocks)
        if self.capture and in_steps(self.capture.steps, self.follower.step, self.follower.total):
            self._watch(call, blocks)

    def _after(self, denoiser: torch.nn.Module, args: Any, output: Any) -> None:
        self._clear()

    def _clear(self) -> None:
        for site in self.installation.sites.values():
            site.clear()

    def _blocks(self, text: torch.Tensor) -> tuple[Block, ...]:
        # A pipeline hands over the same tensor at every step: compare once, not once a step (a device sync).
        if self._known is not None and self._known[0] is text and self._known[1] == text._version:
            return self._known[2]
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
        self._known = (text, text._version, blocks)
        return blocks

    def _weigh(self, call: DenoiserCall, blocks: tuple[Block, ...]) -> None:
        odds = torch.cat([self._target.odds[b.kind].repeat_interleave(b.images_per_prompt, dim=0) for b in blocks])
        index = (odds != 1).any(dim=0).nonzero().flatten()
        if not len(index):
            return
        weights = KeyWeights(index.to(call.text.device), odds[:, index].to(call.text.device))
        for name, site in self.installation.sites.items():
            if name in self._weighed:
                site.key_weights = weights
                site.keys = call.text.shape[1]

    def _watch(self, call: DenoiserCall, blocks: tuple[Block, ...]) -> None:
        block = next((block for block in blocks if block.kind == "positive"), None)
        if block is None or self.capture is None:
            return
        prompts = torch.arange(len(self._target.groups)).repeat_interleave(block.images_per_prompt)
        self.images = tuple(prompts.tolist())
        groups = self._target.groups[prompts].to(call.text.device)
        common: dict[str, Any] = dict(step=self.follower.step, grids=call.grids, rows=block.rows)
        for name, site in self.installation.sites.items():
            if name in self._watched:
                site.columns = self.text.words(name, groups=groups, columns=self._target.columns, **common)
                site.keys = call.text.shape[1]
            elif name in self._patched:
                patches, device = self.capture.patches, call.text.device
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
        """Say so when weights were asked for and pipeline calls were made, but none of them was this run's."""
        reason = self.why_empty() if self.calls else None
        if reason and (self._target.weighted or self.capture):
            warnings.warn(f"nothing was weighted or recorded: {reason}.", PromptAttnWarning, stacklevel=4)


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
