"""`attend`: weighted prompts and token maps for the length of a `with` block."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from types import TracebackType
from typing import Any, Self, get_args

from promptattn.errors import CaptureError, ConfigError, ExportError, PromptSyntaxError
from promptattn.maps import HeatMaps
from promptattn.maps.capture import Capture
from promptattn.maps.stream import Stream
from promptattn.processors.rows import Kind
from promptattn.processors.segments import Spoken, spoken_of
from promptattn.prompt import EncoderPlan, Prompt, Span, TokenPlan
from promptattn.prompt.parsing import SYNTAXES, as_prompt
from promptattn.prompt.timeline import all_spans
from promptattn.records import Records, RecordsSize, open_records
from promptattn.run.cost.recorded import bytes_recorded
from promptattn.run.denoiser import DenoiserWatch, Rows, Target
from promptattn.run.inputs import embedding_inputs, takes_negative_prompt, text_inputs
from promptattn.run.loading.loaded import check_loaded
from promptattn.run.obstacles import check_obstacles
from promptattn.run.recording.collect import collect, denoiser_name
from promptattn.run.recording.planning import scheduled_calls
from promptattn.run.recording.streaming import Streaming
from promptattn.run.served import served
from promptattn.run.sizes import latent_size
from promptattn.run.text.hearing import Hearing
from promptattn.run.text.script import Script
from promptattn.run.text.wordings import Wordings
from promptattn.selection import Steps, check_steps
from promptattn.telling import tell
from promptattn.weighting import Method, Strength, Weighting, check_reach, chosen, overweight

__all__ = ["AttentionRun", "attend"]

PromptLike = str | Prompt
_VERSIONED = ("promptattn", "torch", "diffusers", "transformers")


def attend(
    pipe: Any,
    prompt: PromptLike | Sequence[PromptLike],
    negative_prompt: PromptLike | Sequence[PromptLike] | None = None,
    *,
    syntax: str = "a1111",
    weighting: str | Method = "attention",
    where: str = "auto",
    strength: Strength = None,
    layers: Sequence[str] | str | None = None,
    steps: Steps = None,
    rows: Rows = "image",
    capture: Capture | bool = True,
    clip_skip: int | None = None,
    num_images_per_prompt: int | None = None,
    max_sequence_length: int | None = None,
) -> "AttentionRun":
    """Weigh the words of a prompt inside a pipeline's attention, and record where each of them went.

        with promptattn.attend(pipe, "a (red:1.4) cat chasing a gray mouse") as run:
            image = pipe(**run.inputs, num_inference_steps=30, generator=g).images[0]
        run.maps["cat"].overlay(image).save("cat.png")

    The text is encoded on entry. On leaving, by whatever way, the pipeline has the very processors and attention
    implementations that it had before. Without weights and with or without capture the image equals the stock
    pipeline's to the bit.

    Prompts that are scheduled (`[a:b:0.4]`, `[a|b]`) are another text at some steps. How many steps there are is known
    once the pipeline is called, so `run.inputs` hold one of these texts, and `run.plans` are of that one; the denoiser
    is given that of the step. A step of such a run is exactly that step of a run with the plain prompt in force there,
    its weights, its number of chunks and its negative prompt included. Steps are those of the scheduler, counted from
    the first one that is made: in image-to-image too, where A1111 takes fractions of the steps of a whole run.

    Prompts joined by AND are predicted one by one, and what each gains over the negative prompt is added up
    (:func:`promptattn.run.composing.composed`). Each further part costs one more call of the denoiser at each step, and
    one more for the negative prompt where the pipeline does not predict both in one call, or is not guided at all.
    Flux without a negative prompt has nothing to gain over: there the predictions are averaged by their weights.

    Maps are means over all recorded steps. A word has no mass where it is not in force, so that the columns of a place
    still sum to 1; of parts joined by AND each counts by the size of its weight among them, and likewise of prompts
    that are blended.

    Args:
        pipe: a diffusers pipeline of a kind that `promptattn models` lists: Stable Diffusion 1, 2, XL or 3, Flux.1 ...
        prompt: a prompt in `syntax`, parsed or not, or a list of them for a batch.
        negative_prompt: likewise, weighted on its own rows; one for all prompts, or as many as there are prompts. It
            may be scheduled, but not joined by AND.
        weighting: how weights act: the name of one of :data:`promptattn.weighting.METHODS`, or with its own options a
            :class:`promptattn.weighting.Weighting` or :class:`promptattn.weighting.EmbeddingWeighting`.
        where, strength: in which attention weights act and how strongly, for methods that act there, chosen by name;
            see :class:`promptattn.weighting.Weighting`.
        layers: the denoiser's layers in which weights act, by name, beginning of a name, or glob; None is all.
        steps: the denoising steps in which weights act; None is all.
        rows: whose attention to the weighted words changes, in joint attention: the `image`'s, or that of `all` rows.
            With `all` the words' own attention to each other changes too, and a negative weight also flips what a word
            takes from itself.
        capture: True for every word, False for nothing, or a :class:`promptattn.maps.Capture`.
        clip_skip: how many of the text encoder's last layers to leave out, as in diffusers (A1111's number less 1).
        num_images_per_prompt: images of each prompt; `run.inputs` sees to it.
        max_sequence_length: rows of text of a T5 encoder, as in the pipeline's own `__call__`, whose default it takes.

    Raises:
        PromptSyntaxError, ConfigError: for a prompt or an option that cannot be read, before anything is touched.
        UnsupportedModelError: for a pipeline, encoder or processor that cannot be served; names it.
    """
    method = chosen(weighting, where, strength)
    check_steps(steps, "steps")
    if rows not in get_args(Rows):
        raise ConfigError(f"rows={rows!r} is none of {', '.join(get_args(Rows))}.")
    check_reach(method, layers=layers, steps=steps, rows=rows)
    if num_images_per_prompt is not None and num_images_per_prompt < 1:
        raise ConfigError(f"num_images_per_prompt={num_images_per_prompt} must be at least 1.")
    prompts = [as_prompt(each, syntax) for each in _listed(prompt)]
    if not prompts:
        raise ConfigError("the list of prompts is empty; give at least one, if only an empty text.")
    return AttentionRun(
        pipe,
        prompts,
        _negatives(negative_prompt, len(prompts), syntax),
        weighting=method,
        layers=layers,
        steps=steps,
        capture=capture if isinstance(capture, Capture) else Capture() if capture else None,
        rows=rows,
        clip_skip=clip_skip,
        num_images_per_prompt=num_images_per_prompt,
        max_sequence_length=max_sequence_length,
    )


class AttentionRun:
    """A pipeline with its words weighted and watched; made by :func:`attend`, used as a context manager.

    Attributes:
        inputs: keyword arguments for the pipeline's own `__call__`; there from entry on.
        prompts, negative_prompts: as they were given, parsed; None for a negative prompt that was not.
    """

    def __init__(
        self,
        pipe: Any,
        prompts: Sequence[Prompt],
        negatives: Sequence[Prompt | None],
        *,
        weighting: Method,
        layers: Sequence[str] | str | None,
        steps: Steps,
        capture: Capture | None,
        rows: Rows,
        clip_skip: int | None,
        num_images_per_prompt: int | None,
        max_sequence_length: int | None,
    ) -> None:
        self._pipe = pipe
        check_loaded(pipe)
        self._denoiser, self._layout = served(pipe)
        self._weighting = weighting
        self._layers = layers
        self._steps = steps
        self._capture = capture
        self._rows: Rows = rows
        self._text_length = max_sequence_length
        self._images_per_prompt = num_images_per_prompt
        self._watch: DenoiserWatch | None = None
        self._streaming: Streaming | None = None
        self._maps: tuple[int, HeatMaps] | None = None
        self._inputs: dict[str, Any] = {}
        self.prompts: tuple[Prompt, ...] = tuple(prompts)
        self.negative_prompts: tuple[Prompt | None, ...] = tuple(negatives)
        self._without_negative = all(negative is None for negative in negatives)
        takes_negative = takes_negative_prompt(pipe, self._denoiser, given=not self._without_negative)
        wordings = Wordings(
            pipe,
            weighting=weighting,
            clip_skip=clip_skip,
            max_sequence_length=max_sequence_length,
            record=capture is not None and "text->text" in capture.relations,
            without_negative=self._without_negative,
            takes_negative=takes_negative,
        )
        self._script = Script(pipe, prompts, negatives, wordings, capture=capture, report=tell)
        check_obstacles(pipe, self._denoiser, self._script, prompts, guided=takes_negative)
        if capture is not None and "text->text" in capture.relations:
            self._tell_of_missing_words()
        if capture is not None and isinstance(capture.stream, Stream):
            self._streaming = Streaming(capture, capture.stream, denoiser_name(pipe), self._meta())

    @property
    def plans(self) -> tuple[TokenPlan, ...]:
        """For each prompt its tokens, words, weights and chunks.

        Of a prompt that is several texts they are those of the one in `inputs`.
        """
        return self._script.plans

    def __enter__(self) -> Self:
        if self._watch is not None:
            raise ConfigError("this run is already entered; make a second one with attend() for a nested use.")
        spoken = spoken_of(self._denoiser)
        if not self._script.is_scheduled:
            self._script.timeline(1)  # refuses what cannot be encoded or recorded before anything is touched
        self._inputs = self._embedded() if spoken is None else self._in_words(spoken)
        self._report_weights()
        target = Target(
            script=self._script,
            given_negative=self._inputs.get("negative_prompt_embeds"),
            images_per_prompt=self._images_per_prompt,
            rows=self._rows,
            rule=self._weighting.key_rule,
            weighted=any(self._weighting.in_denoiser(span.weight) != 1.0 for span in self._spans()),
            hearing=None if spoken is None else self._hearing(spoken),
        )
        self._watch = DenoiserWatch(
            self._pipe,
            self._denoiser,
            self._layout,
            target,
            capture=self._capture,
            layers=self._layers,
            steps=self._steps,
            streaming=self._streaming,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._watch is not None
        self._watch.remove()
        self._close_records(quietly=error is not None)
        if kind is None:
            self._watch.warn_if_idle()

    @property
    def inputs(self) -> dict[str, Any]:
        """Keyword arguments for the pipeline's own `__call__`: embeddings in place of the prompts."""
        if not self._inputs:
            raise ConfigError("run.inputs is there once the run is entered: with attend(...) as run: ...")
        # Z-Image's pipeline writes into the lists that it is given.
        return {name: list(each) if isinstance(each, list) else each for name, each in self._inputs.items()}

    @property
    def maps(self) -> HeatMaps:
        """The maps of the pipeline call made last. Also there after the `with` block.

        Raises:
            CaptureError: when nothing was recorded; says why.
        """
        watch = self._watch
        if watch is None:
            raise CaptureError("there are no maps yet: enter the run with attend(...) as run, and call the pipeline.")
        if self._capture is None:
            raise CaptureError("there are no maps: this run was made with capture=False.")
        if reason := watch.why_empty():
            raise CaptureError(f"there are no maps: {reason}.")
        if missing := watch.missing():
            raise CaptureError(
                f"{len(missing)} attention layers recorded nothing in the last call (first: {missing[0]}); were the"
                " steps to capture reached?"
            )
        if self._maps is None or self._maps[0] != watch.recognised:
            self._maps = watch.recognised, collect(watch, self._pipe, self._meta())
        return self._maps[1]

    @property
    def records(self) -> Records:
        """What was streamed of the pipeline call made last; also after the `with` block.

        Raises:
            CaptureError: when nothing was: the capture has no `stream`, or the pipeline has not been called.
        """
        streaming = self._streamed("there are no records")
        if streaming.folder is None:
            raise CaptureError("there are no records yet: call the pipeline inside the context, pipe(**run.inputs).")
        streaming.close()
        return open_records(streaming.folder)

    def records_size(
        self, num_inference_steps: int | None = None, *, height: int | None = None, width: int | None = None
    ) -> RecordsSize:
        """How much a pipeline call with these arguments will stream, to the byte; there from entry on.

        None is what the pipeline does unless it is told. What these arguments do not tell, such as the picture and the
        strength of image to image, is not known here; `Stream(on_size=...)`, told at the first step, knows.

        Raises:
            ConfigError: before entry, and where the pipeline does not tell its usual size.
            CaptureError: when the capture has no `stream`.
        """
        self._streamed("nothing is streamed")
        if self._watch is None:
            raise ConfigError("run.records_size() is there once the run is entered: with attend(...) as run: ...")
        calls = scheduled_calls(self._pipe, num_inference_steps)
        latents = latent_size(self._pipe, height, width)
        plan = self._watch.records_plan(
            self._script.timeline(max(calls) + 1),
            grids=self._layout.grids(latents, self._denoiser.config),
            images=len(self.prompts) * (self._images_per_prompt or 1),
            calls=calls,
        )
        return plan.size

    def recorded_bytes(self) -> int:
        """Bytes that the maps of the call made last take on the device, or will once all its steps are recorded."""
        watch = self._watch
        if watch is None or watch.capture is None:
            return 0
        return bytes_recorded(watch.recorders, watch.capture, watch.total)

    def annotate(self, meta: Mapping[str, Any]) -> None:
        """Note what else is known of the call made last with its records: values that JSON can hold."""
        if self._streaming is not None:
            self._streaming.annotate(meta)

    # Steps of entering.

    def _embedded(self) -> dict[str, Any]:
        carrier = self._script.carrier
        return embedding_inputs(self._pipe, self._layout, carrier.positive, carrier.negative, self._images_per_prompt)

    def _in_words(self, spoken: Spoken) -> dict[str, Any]:
        return text_inputs(
            spoken,
            self.plans,
            negative=not self._without_negative,
            images_per_prompt=self._images_per_prompt,
            max_sequence_length=self._text_length,
        )

    def _spans(self) -> list[Span]:
        """Every span of the prompts and negative prompts, whenever it is in force."""
        return [
            span
            for prompt in (*self.prompts, *self.negative_prompts)
            if prompt is not None
            for span in all_spans(prompt)
        ]

    def _report_weights(self) -> None:
        from promptattn.run.probe import warn_if_inert  # which attends a pipeline itself

        spans = self._spans()
        if too_much := overweight(self._weighting, spans):
            tell(too_much)
        if any(span.weight != 1 and span.text.strip() for span in spans):
            texts = [text for each in self.plans for text in (each.prompt, each.negative_prompt) if text is not None]
            warn_if_inert(self._pipe, self._weighting, texts, self._text_length)

    def _tell_of_missing_words(self) -> None:
        if spoken_of(self._denoiser) and "joint" not in self._layout.layers(self._denoiser).values():
            tell(
                f"attention between words is not recorded: in {type(self._denoiser).__name__} no text attends to text"
                f" beside the image, and {type(self._pipe).__name__} encodes its prompt itself."
            )

    def _hearing(self, spoken: Spoken) -> Hearing:
        plans: dict[Kind, list[tuple[EncoderPlan, ...]]] = {"positive": [each.encoders for each in self._script.plans]}
        if not self._without_negative:
            plans["negative"] = [each.negative for each in self._script.plans]
        assert isinstance(self._weighting, Weighting)
        return Hearing(self._pipe, self._layout, spoken, plans, self._weighting)

    def _streamed(self, what: str) -> Streaming:
        if self._streaming is None:
            raise CaptureError(f'{what}: this run was made without Capture(stream="a folder").')
        return self._streaming

    def _close_records(self, *, quietly: bool) -> None:
        """Write out what was recorded; quietly: there is an error under way that must not be hidden by another."""
        if self._streaming is None:
            return
        try:
            self._streaming.close()
        except ExportError as error:
            if not quietly:
                raise
            tell(str(error))

    def _meta(self) -> Mapping[str, Any]:
        return {
            "weighted_prompts": [_written(each) for each in self.prompts],
            "weighting": self._weighting.name,
            **asdict(self._weighting),
            "pipeline": type(self._pipe).__name__,
            "versions": {name: str(import_module(name).__version__) for name in _VERSIONED},
            "model": str(self._pipe.config.get("_name_or_path") or ""),
        }


def _written(prompt: Prompt) -> str:
    """The prompt in A1111 syntax, or in the first other one that can say it; as it was typed where none can."""
    for syntax in SYNTAXES:
        try:
            return prompt.render(syntax)
        except PromptSyntaxError:
            continue
    return prompt.source or ""


def _listed(prompt: PromptLike | Sequence[PromptLike]) -> Iterable[PromptLike]:
    one = isinstance(prompt, str | Prompt) or not isinstance(prompt, Iterable)
    return [prompt] if one else prompt  # type: ignore[list-item,return-value]


def _negatives(
    negative: PromptLike | Sequence[PromptLike] | None, count: int, syntax: str
) -> list[Prompt] | list[None]:
    if negative is None:
        return [None] * count
    if isinstance(negative, str | Prompt):
        return [as_prompt(negative, syntax)] * count
    if len(negative) != count:
        raise ConfigError(
            f"there are {count} prompts but {len(negative)} negative prompts; give one for all, or one each."
        )
    return [as_prompt(each, syntax) for each in negative]
