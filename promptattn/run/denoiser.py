"""Watching a pipeline's denoiser: before each call it tells every layer's site what to weigh and what to record.

Where the prompt of a step is another than the one that the pipeline was given, the call gets that step's text instead;
where it is several prompts joined by AND, the denoiser is called again for each and the predictions become one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch

from promptattn.core import KeyWeights, Rule
from promptattn.errors import ConfigError
from promptattn.maps.capture import Capture, Relation
from promptattn.maps.recorder import Recorder
from promptattn.maps.stream_recorder import StreamRecorder
from promptattn.places import Grid
from promptattn.processors.install import Installation, attention_layers
from promptattn.processors.layouts import DenoiserCall, LayerKind, Layout
from promptattn.processors.opaque import untraced
from promptattn.processors.rows import Block, recognise, recognise_known
from promptattn.processors.rules import check_rule
from promptattn.records import RecordsPlan
from promptattn.run.aside import is_aside
from promptattn.run.batch import Batch, Told
from promptattn.run.composing import composed, prediction, with_prediction
from promptattn.run.idle import Acted, why_idle
from promptattn.run.recording.planning import plan_records
from promptattn.run.recording.relations import check_heads, readers, relations
from promptattn.run.recording.streaming import Streaming
from promptattn.run.sizes import image_size
from promptattn.run.steps import StepCounter, StepFollower
from promptattn.run.strays import Strays
from promptattn.run.text.hearing import Hearing
from promptattn.run.text.lora import tell_of_scale
from promptattn.run.text.script import Moment, Script, Timeline
from promptattn.selection import Steps, in_steps, match_layers
from promptattn.telling import tell

__all__ = ["DenoiserWatch", "Rows", "Target"]

Rows = Literal["image", "all"]


@dataclass(frozen=True)
class Target:
    """What one run wants with its texts.

    Attributes:
        script: what they are at each step.
        given_negative: the negative embeddings as the pipeline is given them, each prompt's repeated for its images.
        images_per_prompt: how often each prompt's rows are repeated, if that is known.
        rows: whose attention weights change in joint attention: that of the `image`, or of `all` rows.
        rule: by which weights act; see :class:`promptattn.core.KeyWeights`.
        weighted: whether any word has a weight that acts in the denoiser, at any step.
        hearing: set for a pipeline that encodes its prompts itself.
    """

    script: Script
    given_negative: torch.Tensor | None
    images_per_prompt: int | None
    rows: Rows
    rule: Rule
    weighted: bool
    hearing: Hearing | None = None


@dataclass(frozen=True)
class _Call:
    """A denoiser call of this run, from before it is made until after."""

    call: DenoiserCall
    batch: Batch
    timeline: Timeline
    moment: Moment


class DenoiserWatch:
    """Installed for the length of a run; every pipeline call in between is followed, weighted and recorded.

    Attributes:
        recorders: what was recorded, by relation.
        timeline: of the image that was recorded last, or is being made.
        images: the prompt of each image that was recorded last.
        sample_size, total: of the image that was recorded last: (height, width) of its latents, and its steps.
        calls, recognised, prompted: how many denoiser calls a pipeline made, in how many the text was this run's, and
            in how many it was its prompts', and not those of negative prompts alone.
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
        streaming: Streaming | None = None,
    ) -> None:
        self._pipe = pipe
        self._denoiser = denoiser
        self._is_aside = is_aside(denoiser)
        self._layout = layout
        self._target = target
        self._carrier = target.script.carrier
        self.capture = capture
        self._steps = steps
        self._streaming = streaming
        self.follower, self._stepping = StepFollower(), StepCounter()
        self.calls = self.recognised = self.prompted = 0
        self.timeline: Timeline | None = None
        self.images: tuple[int, ...] = ()
        self.sample_size: tuple[int, int] = (0, 0)
        self.total = 0
        self._generation = 0
        self._known: list[Batch] = []
        self._acted, self._strays = Acted(), Strays()
        self._told_of_scale = False
        self._current: _Call | None = None
        self._again = False
        self._unguided: tuple[object, torch.Tensor] | None = None
        self._kinds = layout.layers(denoiser)
        names = readers(denoiser, self._kinds)
        self._weighed = set(match_layers(names, layers, "layers", kind="attention layer that sees text"))
        if target.rows == "all" and "joint" not in self._kinds.values():
            raise ConfigError(
                f"rows='all': in {type(denoiser).__name__} only the image attends to the text; leave rows out, which is"
                " for joint attention, as in Stable Diffusion 3 and Flux."
            )
        if target.weighted:
            check_rule(target.rule, denoiser, self._weighed, self._kinds)
        self._relations: dict[str, tuple[Relation, ...]] = {}
        self.recorders: dict[Relation, Recorder] = {}
        if capture:
            self._relations = relations(denoiser, self._kinds, capture)
            check_heads(denoiser, self._relations, capture)
            self.recorders = {
                relation: self._recorder(relation, capture)
                for relation in dict.fromkeys(each for some in self._relations.values() for each in some)
            }
        needed = set(self._weighed if target.weighted else ()) | set(self._relations)
        self.installation = Installation(denoiser, [name for name in self._kinds if name in needed])
        self._handles: list[Any] = []
        try:
            if target.hearing is not None:
                target.hearing.install()
            self._handles.append(denoiser.register_forward_pre_hook(untraced(self._before), with_kwargs=True))
            self._handles.append(denoiser.register_forward_hook(untraced(self._after), with_kwargs=True))
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Take hooks and processors out; see :meth:`Installation.remove`."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._target.hearing is not None:
            self._target.hearing.remove()
        self._known = []
        self._current = self._unguided = None
        self._drop()
        self._stepping.release()
        self.installation.remove()

    def missing(self) -> list[str]:
        """Layers that were to record and did not, in the generation that was recorded last."""
        return sorted(
            name
            for name, wanted in self._relations.items()
            if any(name not in self.recorders[relation].layers for relation in wanted)
        )

    def records_plan(
        self, timeline: Timeline, *, grids: Sequence[Grid], images: int, calls: Mapping[int, int]
    ) -> RecordsPlan:
        """What is streamed of one pipeline call; see :func:`plan_records`."""
        assert self._streaming is not None
        dtype = self._streaming.stream.dtype
        return plan_records(
            self._denoiser,
            self._relations,
            self._streaming.capture,
            timeline,
            grids=grids,
            images=images,
            calls=calls,
            dtype=dtype,
        )

    def _recorder(self, relation: Relation, capture: Capture) -> Recorder:
        heads: dict[str, int] | None = None
        if capture.per_head and (relation == "image->text" or self._streaming):
            heads = {name: int(layer.heads) for name, layer in attention_layers(self._denoiser).items()}
        # Between words a mean over the run is all that is kept.
        per_step = capture.per_step and relation != "text->text"
        if self._streaming:
            return StreamRecorder(self._streaming.take, heads=capture.heads, per_step=per_step, per_head=heads)
        return Recorder(heads=capture.heads, per_step=per_step, per_head=heads)

    # Hooks.

    def _before(self, denoiser: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._again:
            return None  # made and armed here
        self._clear()
        self._drop()
        self._current = None
        if is_aside(denoiser) != self._is_aside:
            return None  # another run's way of looking at the model, even where its text is this one's
        self.installation.verify()
        call = self._layout.read(denoiser, args, kwargs)
        self.calls += 1
        batch = self._read(call)
        scheduler = self._pipe.scheduler
        taken = self._stepping.count(scheduler)
        self._strays.see(getattr(scheduler, "timesteps", None), taken, own=bool(batch.blocks))
        if not batch.blocks:
            return None
        self.recognised += 1
        self.prompted += batch.rows is not None
        self._told_of_scale = self._told_of_scale or tell_of_scale(self._pipe, kwargs)
        self.follower.advance(call.timestep, scheduler, taken)
        timeline = self._target.script.timeline(self.follower.total)
        if batch.rows is not None and self._generation != self.follower.generations:
            self._begin(call, timeline, batch.images)
        moment = timeline.at(self.follower.step)
        self._acted.reach(self.follower.step, timeline)
        self._current = _Call(call, batch, timeline, moment)
        told = batch.told(timeline, moment)
        self._arm(call, batch, told)
        if told.text is None:
            return None
        return self._layout.reworded(denoiser, args, kwargs, told.text, told.pooled, told.mask)

    def _begin(self, call: DenoiserCall, timeline: Timeline, images: tuple[int, ...]) -> None:
        """Forget the image before. Rows of the negative prompt alone do not: another run's may have the same text."""
        self._generation = self.follower.generations
        for recorder in self.recorders.values():
            recorder.reset()
        self.sample_size, self.total, self.timeline = call.size, self.follower.total, timeline
        if self._streaming:
            plan = self.records_plan(
                timeline,
                grids=list(call.grids.values()),
                images=len(images),
                calls=self.follower.calls_of_steps,
            )
            size = image_size(self._pipe, call.size)
            self._streaming.begin(plan, timeline, images=images, image_size=size, steps=self.total)

    def _after(self, denoiser: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        self._clear()
        for recorder in self._stream_recorders:
            recorder.settle()
        current = None if self._again else self._current
        if current is None or not self._target.script.is_composed:
            return None
        self._current = None
        self._keep_unguided(current, output)
        if current.batch.rows is None or not any(current.moment.composed):
            return None
        return self._composed(current, args, kwargs, output)

    @property
    def _stream_recorders(self) -> list[StreamRecorder]:
        return [each for each in self.recorders.values() if isinstance(each, StreamRecorder)]

    def _drop(self) -> None:
        """Forget what a denoiser call recorded that did not come to its end."""
        for recorder in self._stream_recorders:
            recorder.drop()

    def _clear(self) -> None:
        for site in self.installation.sites.values():
            site.clear()

    # Whose text a call has.

    def _read(self, call: DenoiserCall) -> Batch:
        text = call.text
        # A pipeline hands over the same tensors at every step, one or, for prompt and negative prompt apart, two:
        # compare each once, not once a step (a device sync).
        known = next((each for each in self._known if each.is_of(text)), None)
        if known is None:
            patches = self.capture.patches if self.capture else ()
            known = Batch(
                text,
                self._blocks(text),
                self._carrier,
                tokens=call.tokens,
                rule=self._target.rule,
                patches=patches,
            )
            self._known = [*self._known[-1:], known]
        return known

    def _blocks(self, text: torch.Tensor) -> tuple[Block, ...]:
        target, carrier = self._target, self._carrier
        perturbed = bool(getattr(self._pipe, "do_perturbed_attention_guidance", False))
        if target.hearing is not None:
            return recognise_known(
                text, target.hearing.known, negative_first=self._layout.negative_first, perturbed=perturbed
            )
        if text is target.given_negative:
            # In a call of its own, and the very tensor: so it is no prompt, not even one of the same text.
            return (Block("negative", 0, len(text), len(text) // target.script.prompts),)
        return recognise(
            text,
            carrier.positive.embeds,
            None if carrier.negative is None else carrier.negative.embeds,
            images_per_prompt=target.images_per_prompt,
            negative_first=self._layout.negative_first,
            perturbed=perturbed,
            guided=getattr(self._pipe, "do_classifier_free_guidance", None),
        )

    # What its layers are told.

    def _arm(self, call: DenoiserCall, batch: Batch, told: Told) -> None:
        """Tell every layer what to weigh and what to record in a call that reads this text."""
        if told.text is not None:
            call = replace(call, text=told.text)
        step, total = self.follower.step, self.follower.total
        if told.weights is not None and in_steps(self._steps, step, total):
            self._weigh(call, told, told.weights)
        recorded = self.capture is not None and in_steps(self.capture.steps, step, total)
        if recorded and told.watched and batch.rows is not None and not call.worsened:
            self._watch(call, batch, told, batch.rows)

    def _weigh(self, call: DenoiserCall, told: Told, weights: KeyWeights) -> None:
        self._acted.weigh(told.wording, {block.kind for block in told.blocks})
        placed: dict[LayerKind, KeyWeights] = {}
        for name, site in self.installation.sites.items():
            if name in self._weighed:
                kind = self._kinds[name]
                if kind not in placed:
                    placed[kind] = call.place(kind, weights, image_only=self._target.rows == "image")
                site.key_weights = placed[kind]
                site.keys, site.batch = call.keys(kind), len(call.text)

    def _watch(self, call: DenoiserCall, batch: Batch, told: Told, rows: slice) -> None:
        self.images = batch.images
        common: dict[str, Any] = dict(step=self.follower.step, rows=rows)
        for name, site in self.installation.sites.items():
            if wanted := self._relations.get(name):
                kind = self._kinds[name]
                places = partial(call.places, kind)
                site.columns = [
                    self.recorders[each].watch(name, each, watched, places, **common)
                    for each in wanted
                    for watched in told.watched
                ]
                site.keys, site.batch, site.rows = call.keys(kind), len(call.text), rows

    # AND.

    def _composed(self, current: _Call, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """The call's output with the prediction of all parts in the rows of composed prompts."""
        batch, moment = current.batch, current.moment
        whole = prediction(output)
        told = [batch.told(current.timeline, moment, part) for part in range(len(moment.wordings))]
        calls = [whole, *(self._call_again(current, args, kwargs, each) for each in told[1:])]
        unguided = self._unguided_of(current, args, kwargs)
        weights, concerned = batch.composition(moment)
        changed = whole.clone()
        for rows in (block.rows for block in batch.blocks if block.kind == "positive"):
            mixed = composed([each[rows] for each in calls], weights, unguided)
            # The prediction of a prompt that is one text stays as it is, to the bit.
            here = concerned.view(-1, *[1] * (mixed.ndim - 1))
            changed[rows] = torch.where(here, mixed, whole[rows])
        return with_prediction(output, changed)

    def _call_again(self, current: _Call, args: tuple[Any, ...], kwargs: dict[str, Any], told: Told) -> torch.Tensor:
        """The denoiser's prediction for the same latents and another text."""
        assert told.text is not None
        self._again = True
        try:
            self._arm(current.call, current.batch, told)
            positional, named = self._layout.reworded(self._denoiser, args, kwargs, told.text, told.pooled, told.mask)
            return prediction(self._denoiser(*positional, **named))
        finally:
            self._again = False
            self._clear()

    def _keep_unguided(self, current: _Call, output: Any) -> None:
        """Keep what is predicted for the negative prompt for the further calls that a pipeline makes in this step."""
        negative = next((block for block in current.batch.blocks if block.kind == "negative"), None)
        if negative is not None and not current.call.worsened:
            self._unguided = self.follower.call, prediction(output)[negative.rows]

    def _unguided_of(self, current: _Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
        """The prediction for the negative prompt `[image, ...]`; asked for if the pipeline has not, or never will."""
        if self._carrier.negative is None:
            return None
        if self._unguided is None or self._unguided[0] != self.follower.call:
            rows = current.batch.rows
            assert rows is not None
            predicted = self._call_again(current, args, kwargs, current.batch.unguided(current.moment))
            self._unguided = self.follower.call, predicted[rows]
        return self._unguided[1]

    # What went wrong, in words.

    def why_empty(self) -> str | None:
        """The reason why nothing was recorded or weighted, or None when something was."""
        if not self.calls:
            return "the pipeline has not been called inside the context yet: call pipe(**run.inputs)"
        if not self.prompted:
            read = "this run's negative prompt alone" if self.recognised else "other text embeddings than this run's"
            return (
                f"the denoiser was called {self.calls} times, but with {read}:"
                " call the pipeline with pipe(**run.inputs) and without prompt or prompt_embeds of your own"
            )
        return None

    def warn_if_idle(self) -> None:
        """Say so when pipeline calls were made, but not this run's, or when weights or words had no chance to act."""
        if not self.calls:
            return
        if reason := self.why_empty():
            if self._target.weighted or self.capture or self._target.script.is_scheduled:
                what = "nothing of the prompt" if self.recognised else "nothing"
                tell(f"{what} was weighted or recorded: {reason}.")
            return
        for reason in why_idle(self._acted, self._steps, self.follower.total):
            tell(reason)
        if lost := self._strays.lost:
            tell(
                f"{lost[0]} steps of an image were made with other text embeddings than this run's, after {lost[1]}"
                " with its own: nothing was weighted or recorded in them. A callback that changes prompt_embeds does"
                " that."
            )
