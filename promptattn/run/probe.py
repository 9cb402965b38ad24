"""Does a weight move this model at all? One step of the denoiser with and without it tells."""

import math
import warnings
from collections.abc import Collection, Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch

from promptattn.discovery import layout_for
from promptattn.errors import CaptureError, ConfigError, PromptAttnWarning
from promptattn.processors.segments import row_encoders
from promptattn.prompt import Prompt, Span, Word, find, parse, plan
from promptattn.run.aside import aside, is_aside
from promptattn.run.attend import AttentionRun, attend
from promptattn.run.served import served
from promptattn.run.sizes import as_asked, pixels_per_latent
from promptattn.telling import tell
from promptattn.weighting import EmbeddingWeighting, Method, chosen

__all__ = ["Probe", "probe", "warn_if_inert"]

PROMPT, WORD, WEIGHT = "a red cat and a blue star", "red", 1.5

# Of what leaving the word out does to the prediction. An embedding whose length is undone by a norm does 1e-6 of it.
# Ten times this share is still seen in images: A1111's scaling by 1.5 does 0.01 of it in shapes-dit, and its weight 0
# halves the word's object there (docs/weights.md).
SHARE = 0.001
# In bfloat16 rounding alone is more than that. So the change is seen twice, with independent rounding, which agrees
# with itself by chance only: by about 1 / sqrt(numbers) if all of a prediction's numbers were independent, which
# neighbours are not.
_AGREEMENT, _CHANCE = 0.25, 20.0

_LARGEST = 32  # latents a side, 256 pixels of most models: enough to see an effect, and cheap


@dataclass(frozen=True)
class Probe:
    """What a weight does to the first prediction of a denoiser, as shares of that prediction's norm.

    Attributes:
        method: the name of the method.
        word, weight: what was weighted, and by how much.
        change: of the prediction by the weight, without guidance, cleared of rounding: the root of `<d, d'>`, where d
            is the difference that the weight makes, and d' the same from noise that is one unit in the last place off.
        reference: of the prediction by leaving the word out of the prompt, with the pooled embedding as it was.
        rounding: of the difference itself, in the model's own dtype: `|d - d'|` over the root of 2.
        inert: whether `change` is no more than 0.001 of `reference`, or d and d' are correlated by no more
            than rounding may be by chance (0.25, and less for many numbers).
        instead: where inert, a method that was probed too and moves this model; None if there is none.
    """

    method: str
    word: str
    weight: float
    change: float
    reference: float
    rounding: float
    inert: bool
    instead: str | None = None

    def __str__(self) -> str:
        share = f", {self.change / self.reference:.2g} of what leaving the word out does" if self.reference else ""
        moved = (
            f"{self.method}: weight {self.weight:g} on {self.word!r} moves the prediction by {self.change:.2g}{share}"
        )
        if not self.inert:
            return f"{moved}."
        if self.change > SHARE * self.reference:
            moved = f"{moved}, which is no more than rounding ({self.rounding:.2g})"
        acts = "no other method was found to act" if self.instead is None else f"weighting={self.instead!r} acts"
        return f"{moved}: it does nothing in this model, where {acts}."


def probe(
    pipe: Any,
    weighting: str | Method = "attention",
    *,
    prompt: str | Prompt | None = None,
    word: str | None = None,
    weight: float = WEIGHT,
    max_sequence_length: int | None = None,
    **call: Any,
) -> Probe:
    """Measure whether a weight moves this model's output, from the first step of one small image.

        print(promptattn.probe(pipe, "a1111"))

    Five calls of the denoiser, at no more than 32 latents (256 pixels) a side unless `call` says otherwise, and two
    more where the method is inert. The pipeline, its scheduler and its processors are left as they were.

    Args:
        weighting: a method's name or, with its own options, the method; as for :func:`promptattn.attend`.
        prompt: the text to probe with; its own weights are not used.
        word: a word or phrase of it; None is its first weighted text, or else its longest word.
        weight: what to weight it by.
        max_sequence_length: as for :func:`promptattn.attend`.
        call: further arguments of the pipeline's own `__call__`, such as the `image` that some pipelines need.

    Raises:
        ConfigError: for a weight that cannot show anything, or a word that is not in the prompt.
        PromptAttnError: whatever :func:`promptattn.attend` raises: a method that does not serve the model is refused.
    """
    if not math.isfinite(weight) or weight == 1:
        raise ConfigError(f"weight={weight}: probing needs a finite weight other than 1.")
    method = chosen(weighting)
    with _untouched(pipe), warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptAttnWarning)
        texts = _texts(pipe, _given(prompt, word), weight, max_sequence_length)
        bench = _Bench(pipe, {**_small(pipe), **call}, max_sequence_length, texts)
        return _probed_with(bench, method, weight)


def _probed_with(bench: "_Bench", method: Method, weight: float) -> Probe:
    reference = bench.reference()
    found = bench.effect(method)
    inert, instead = found.inert(reference), None
    if inert and method.name != "attention" and not bench.effect(chosen("attention")).inert(reference):
        instead = "attention"
    return Probe(method.name, bench.texts.word, weight, found.change, reference, found.rounding, inert, instead)


def warn_if_inert(pipe: Any, method: Method, texts: Iterable[Prompt], max_sequence_length: int | None = None) -> None:
    """Warn when an embedding method does nothing in this model; probed once for each pipeline and method.

    Nothing is probed in a pipeline that needs more than a prompt for a call, such as an image. Where probing fails,
    that is said, and the run goes on.

    Args:
        texts: plain prompts with weights, of which the first that has some is probed with.
        max_sequence_length: as for `attend`.
    """
    if not isinstance(method, EmbeddingWeighting) or is_aside(_denoiser(pipe)) or not _needs_only_text(pipe):
        return
    known = _known.setdefault(pipe, {})
    if method not in known:
        weighted = (text for text in texts if any(span.weight != 1 and span.text.strip() for span in text.spans))
        try:
            known[method] = _probed_with_any(pipe, method, next(weighted, None), max_sequence_length)
        except Exception as error:
            # Whatever keeps this small call from working, the run that the user asked for may work, or say it better.
            known[method] = None
            tell(f"whether {method.name} does anything in this model could not be measured: {error or repr(error)}")
    found = known[method]
    if found is not None and found.inert:
        tell(str(found))


def _probed_with_any(pipe: Any, method: Method, prompt: Prompt | None, max_sequence_length: int | None) -> Probe:
    """With the user's own words if they reach the model, else with others."""
    try:
        return probe(pipe, method, prompt=prompt, max_sequence_length=max_sequence_length)
    except ConfigError:
        return probe(pipe, method, max_sequence_length=max_sequence_length)


_known: MutableMapping[Any, dict[Method, Probe | None]] = WeakKeyDictionary()


class _Texts(NamedTuple):
    """The word, and the prompt as it is, with the word weighted, and without it."""

    word: str
    plain: Prompt
    weighted: Prompt
    without: Prompt


def _given(prompt: str | Prompt | None, word: str | None) -> tuple[str, str | None]:
    """The clean text, and the word in it that is meant, if one is."""
    if prompt is None:
        return (PROMPT, WORD) if word is None else (f"a {word}", word)
    parsed = parse(prompt) if isinstance(prompt, str) else prompt
    weighted = (span.text.strip() for span in parsed.spans if span.weight != 1)
    return parsed.text, word or next((text for text in weighted if text), None)


def _texts(pipe: Any, given: tuple[str, str | None], weight: float, max_sequence_length: int | None) -> _Texts:
    text, word = given
    encoders = plan(pipe, Prompt((Span(text),)), max_sequence_length=max_sequence_length).encoders
    readers = row_encoders(_denoiser(pipe), encoders)
    reaching = {each.index for reader in readers for each in reader.words if each.tokens}
    start, end = _place(readers[0].words, reaching, word)
    before, after = text[:start], text[end:]
    return _Texts(
        word=text[start:end],
        plain=_joined((text, 1.0)),
        weighted=_joined((before, 1.0), (text[start:end], weight), (after, 1.0)),
        without=_joined((f"{before.rstrip()} {after.lstrip()}".strip(), 1.0)),
    )


def _place(words: Sequence[Word], reaching: Collection[int], word: str | None) -> tuple[int, int]:
    """Where the word, or the longest one, stands in the text; `reaching`: the words that reach the model."""
    if word is not None:
        try:
            found = find(words, word)
        except CaptureError as error:
            raise ConfigError(f"there is nothing to probe: {error}.") from error
        if not any(each.index in reaching for each in found):
            raise ConfigError(f"there is nothing to probe: {word!r} is cut off before it reaches the model.")
        return found[0].start, found[-1].end
    some = [each for each in words if each.index in reaching and not each.is_punctuation]
    if not some:
        raise ConfigError("there is nothing to probe: the prompt has no word that reaches the model.")
    longest = max(some, key=lambda each: each.end - each.start)
    return longest.start, longest.end


def _joined(*parts: tuple[str, float]) -> Prompt:
    return Prompt(tuple(Span(text, weight) for text, weight in parts if text))


class _Enough(Exception):
    """The first prediction is there."""


class _Effect(NamedTuple):
    """Of a weight on the prediction: see :class:`Probe`; `certain`: whether d and d' agree by more than chance."""

    change: float
    rounding: float
    certain: bool

    def inert(self, reference: float) -> bool:
        return self.change <= SHARE * reference or not self.certain


class _Bench:
    """A pipeline whose first prediction is looked at, always from the same noise, or noise that is a unit off."""

    def __init__(self, pipe: Any, call: dict[str, Any], max_sequence_length: int | None, texts: _Texts) -> None:
        self._pipe, self._call, self._length = pipe, call, max_sequence_length
        self._denoiser = _denoiser(pipe)
        self._sample = layout_for(pipe, self._denoiser).sample
        self.texts = texts
        with self._run(texts.plain, chosen("attention")) as run:
            self._pooled = run.inputs.get("pooled_prompt_embeds")
            self._plain = self._predictions(run.inputs)

    def effect(self, method: Method) -> _Effect:
        """What the weight does by this method."""
        with self._run(self.texts.weighted, method) as run:
            weighted = self._predictions(run.inputs)
        one, other = (ours - plain for ours, plain in zip(weighted, self._plain, strict=True))
        norm, common = float(self._plain[0].norm()) or 1.0, float((one * other).sum())
        size = float(one.norm() * other.norm())
        return _Effect(
            change=math.sqrt(max(common, 0.0)) / norm,
            rounding=float((one - other).norm()) / math.sqrt(2) / norm,
            certain=common > size * min(_AGREEMENT, _CHANCE / math.sqrt(one.numel())),
        )

    def reference(self) -> float:
        """What leaving the word out does."""
        with self._run(self.texts.without, chosen("attention")) as run:
            inputs = run.inputs if self._pooled is None else {**run.inputs, "pooled_prompt_embeds": self._pooled}
            without = self._prediction(inputs)
        return float((without - self._plain[0]).norm()) / (float(self._plain[0].norm()) or 1.0)

    def _run(self, prompt: Prompt, method: Method) -> AttentionRun:
        return attend(self._pipe, prompt, weighting=method, capture=False, max_sequence_length=self._length)

    def _predictions(self, inputs: dict[str, Any]) -> list[torch.Tensor]:
        return [self._prediction(inputs), self._prediction(inputs, nudged=True)]

    def _prediction(self, inputs: dict[str, Any], *, nudged: bool = False) -> torch.Tensor:
        """The denoiser's first prediction, float32; `nudged`: from noise that is a unit off."""
        with self._stopped(nudged) as seen:
            self._pipe(**inputs, **self._call, generator=torch.Generator().manual_seed(0))
        return seen[0]

    @contextmanager
    def _stopped(self, nudged: bool) -> Iterator[list[torch.Tensor]]:
        """While open, a call of the pipeline ends with the first prediction, which is put into the list."""
        seen: list[torch.Tensor] = []

        def before(denoiser: torch.nn.Module, args: Any, kwargs: Any) -> Any:
            bound = signature(denoiser.forward).bind_partial(*args, **kwargs)
            bound.arguments[self._sample] = _a_unit_off(bound.arguments[self._sample])
            return bound.args, bound.kwargs

        def after(denoiser: Any, args: Any, output: Any) -> None:
            seen.append(output[0].detach().float())
            raise _Enough

        handles = [self._denoiser.register_forward_hook(after)]
        if nudged:
            handles.append(self._denoiser.register_forward_pre_hook(before, with_kwargs=True))
        try:
            yield seen
        except _Enough:
            pass
        finally:
            for handle in handles:
                handle.remove()
            # What the pipeline would have done at its end: models that are offloaded go back.
            if hasattr(self._pipe, "maybe_free_model_hooks"):
                self._pipe.maybe_free_model_hooks()


def _a_unit_off(sample: torch.Tensor) -> torch.Tensor:
    """Every number a unit in the last place larger or smaller, as chance has it."""
    signs = torch.randint(0, 2, sample.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return sample * (1 + torch.finfo(sample.dtype).eps * signs.to(sample))


def _denoiser(pipe: Any) -> torch.nn.Module:
    return served(pipe)[0]


def _small(pipe: Any) -> dict[str, Any]:
    """Two steps without guidance, at no more than 32 latents a side."""
    takes = signature(pipe.__call__).parameters
    sample = getattr(pipe, "default_sample_size", None) or getattr(_denoiser(pipe).config, "sample_size", None)
    wanted: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 1.0, "output_type": "latent"}
    if isinstance(sample, int) and "image" not in takes:
        side = min(sample, _LARGEST) * pixels_per_latent(pipe)
        wanted |= {"height": side, "width": side}
    return {name: value for name, value in wanted.items() if name in takes} | as_asked(pipe)


def _needs_only_text(pipe: Any) -> bool:
    """Whether a prompt is all that a call needs: not so image to image, inpainting, ControlNet ..."""
    takes = signature(pipe.__call__).parameters
    return not any("image" in name and name not in _ADDITIONS for name in takes)


# Of calls that make an image from text alone.
_ADDITIONS = {
    "num_images_per_prompt", "ip_adapter_image", "ip_adapter_image_embeds", "negative_ip_adapter_image",
    "negative_ip_adapter_image_embeds",
}  # fmt: skip


@contextmanager
def _untouched(pipe: Any) -> Iterator[None]:
    """The pipeline with another scheduler of its kind for as long, and without a progress bar; then as it was."""
    denoiser, before = _denoiser(pipe), dict(vars(pipe))
    try:
        if getattr(pipe, "scheduler", None) is not None:
            pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        with aside(denoiser):
            yield
    finally:
        vars(pipe).clear()
        vars(pipe).update(before)
