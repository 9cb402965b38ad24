"""`plan`: a prompt and a negative prompt as every text encoder of a pipeline will read them."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from promptattn.denoisers import denoiser_of
from promptattn.errors import ConfigError, PromptSyntaxError, UnsupportedModelError
from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.encoder_plan import EncoderPlan, plan_framed, plan_tokens
from promptattn.prompt.framing import framed
from promptattn.prompt.lower_case import reads_lower_case
from promptattn.prompt.parsing import as_prompt
from promptattn.prompt.templates import template_of
from promptattn.prompt.tokens import window_of
from promptattn.prompt.tree import Prompt

__all__ = ["TokenPlan", "plan", "sequence_length", "widened"]

# Their calls take a `max_sequence_length` and do not hand it on to `encode_prompt`.
_UNHEARD = frozenset({"KolorsPAGPipeline", "KolorsPipeline"})
# By the denoiser's class: pipelines whose CLIP reads as many tokens as the others, and how many at most.
_LONGEST_CLIP = {"HiDreamImageTransformer2DModel": 218}
_SUFFIXES = ("", "_2", "_3", "_4")


@dataclass(frozen=True, kw_only=True)
class TokenPlan:
    """A prompt and its negative, parsed, and how each text encoder reads them.

    `encoders` and `negative` hold one `EncoderPlan` per text encoder, in the pipeline's order.
    """

    prompt: Prompt
    negative_prompt: Prompt
    encoders: tuple[EncoderPlan, ...]
    negative: tuple[EncoderPlan, ...]

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """All findings about both prompts, those about their tokens included, each once."""
        positive = _findings(self.prompt, self.encoders)
        negative = (replace(d, source="negative_prompt") for d in _findings(self.negative_prompt, self.negative))
        return tuple(dict.fromkeys([*positive, *negative]))

    def __getitem__(self, name: str) -> EncoderPlan:
        """The positive prompt's plan for the encoder of that name (`text_encoder`, `text_encoder_2`, ...)."""
        for encoder in self.encoders:
            if encoder.name == name:
                return encoder
        raise UnsupportedModelError(f"there is no {name!r}; encoders: {', '.join(e.name for e in self.encoders)}")

    def equalised(self) -> "TokenPlan":
        """The same plan with empty chunks appended until all encoders have as many, for both prompts.

        Text embeddings of prompt and negative prompt must be equally long to go through the denoiser as one batch.
        """
        chunks = max(len(encoder.chunks) for encoder in (*self.encoders, *self.negative))
        return replace(
            self,
            encoders=tuple(encoder.padded(chunks) for encoder in self.encoders),
            negative=tuple(encoder.padded(chunks) for encoder in self.negative),
        )


def widened(plans: Sequence[TokenPlan]) -> tuple[TokenPlan, ...]:
    """The plans of one batch, whose prompts an encoder reads in windows of one length, and likewise the negative ones.

    Plans that are in such windows already stay the very same.
    """
    positive = _equally_wide([each.encoders for each in plans])
    negative = _equally_wide([each.negative for each in plans])
    return tuple(
        each if one is each.encoders and other is each.negative else replace(each, encoders=one, negative=other)
        for each, one, other in zip(plans, positive, negative, strict=True)
    )


def _equally_wide(plans: Sequence[tuple[EncoderPlan, ...]]) -> list[tuple[EncoderPlan, ...]]:
    windows = [max(plan.window for plan in readings) for readings in zip(*plans, strict=True)]
    return [
        each
        if all(plan.window == window for plan, window in zip(each, windows, strict=True))
        else tuple(plan.widened(window) for plan, window in zip(each, windows, strict=True))
        for each in plans
    ]


def plan(
    pipe: Any,
    prompt: str | Prompt,
    negative_prompt: str | Prompt | None = None,
    *,
    syntax: str = "a1111",
    can_chunk: bool | None = None,
    max_sequence_length: int | None = None,
) -> TokenPlan:
    """How each text encoder of `pipe` reads the prompts. A missing negative prompt is the empty one.

    A text encoder is found by its tokenizer: `pipe.tokenizer` reads for `pipe.text_encoder`, `pipe.tokenizer_2` for
    `pipe.text_encoder_2` and so on; a pair with one side None is left out. `can_chunk` says whether the denoiser takes
    text embeddings of several chunks; by default it does where all tokenizers are CLIP's and the denoiser is no
    transformer, as in SD and SDXL. `max_sequence_length` is that of the pipeline's own call, by default what it takes
    by default: the window of every tokenizer that is not CLIP's.

    Raises `UnsupportedModelError` where there is no such pair or a tokenizer cannot serve, `PromptSyntaxError` where a
    prompt is not one string or not plain (scheduled, joined with AND, a blend), `ConfigError` for a
    `max_sequence_length` that the pipeline does not take.
    """
    if template_of(pipe) is not None:
        return _in_template(pipe, prompt, negative_prompt, syntax, max_sequence_length)
    pairs = list(_encoders(pipe))
    if not pairs:
        raise UnsupportedModelError(
            f"{type(pipe).__name__} has no tokenizer beside a text encoder to plan a prompt for"
        )
    if can_chunk is None:
        can_chunk = _chunks(pipe) and all(_is_clip(tokenizer) for _, tokenizer, _ in pairs)
    length = sequence_length(pipe, max_sequence_length)
    windows = [_window(pipe, length, name, tokenizer, encoder) for name, tokenizer, encoder in pairs]
    parsed = [_parsed(text, syntax) for text in (prompt, "" if negative_prompt is None else negative_prompt)]
    positive, negative = (
        tuple(
            plan_tokens(
                one,
                tokenizer,
                name=name,
                can_chunk=can_chunk,
                window=window,
                lower_case=reads_lower_case(pipe, one.text),
            )
            for (name, tokenizer, _), window in zip(pairs, windows, strict=True)
        )
        for one in parsed
    )
    return TokenPlan(prompt=parsed[0], negative_prompt=parsed[1], encoders=positive, negative=negative)


def _in_template(
    pipe: Any,
    prompt: str | Prompt,
    negative_prompt: str | Prompt | None,
    syntax: str,
    max_sequence_length: int | None,
) -> TokenPlan:
    template = template_of(pipe)
    assert template is not None
    length = sequence_length(pipe, max_sequence_length)

    def read(one: Prompt) -> tuple[EncoderPlan, ...]:
        found = framed(pipe, one.text, length)
        plan = plan_framed(
            one, found.tokenizer, found, name=template.encoder, kept=template.keeps(pipe, found.around, length)
        )
        return (plan, *(as_it_stands(one, name, None) for name in template.pooled))

    def as_it_stands(one: Prompt, name: str, length: int | None) -> EncoderPlan:
        tokenizer = getattr(pipe, name.replace("text_encoder", "tokenizer"))
        window = length or window_of(tokenizer, name, getattr(pipe, name, None))
        lower_case = reads_lower_case(pipe, one.text)
        return plan_tokens(one, tokenizer, name=name, can_chunk=False, window=window, lower_case=lower_case)

    parsed = [_parsed(text, syntax) for text in (prompt, "" if negative_prompt is None else negative_prompt)]
    negative = read(parsed[1]) if template.negative else (as_it_stands(parsed[1], template.encoder, length),)
    return TokenPlan(prompt=parsed[0], negative_prompt=parsed[1], encoders=read(parsed[0]), negative=negative)


def _findings(prompt: Prompt, encoders: Sequence[EncoderPlan]) -> list[Diagnostic]:
    return [*prompt.diagnostics, *(found for encoder in encoders for found in _in_company(encoder, encoders))]


def _in_company(encoder: EncoderPlan, encoders: Sequence[EncoderPlan]) -> Iterator[Diagnostic]:
    """The encoder's findings; of words that do not fit it is said which other encoder reads them all."""
    places = {(word.start, word.end) for word in encoder.cut}
    readers = [other.name for other in encoders if places.isdisjoint((word.start, word.end) for word in other.cut)]
    for found in encoder.diagnostics:
        if found.code == "cut-words" and readers:
            yield replace(found, message=f"{found.message} (read by {' and '.join(readers)})")
        else:
            yield found


def _window(pipe: Any, length: int | None, name: str, tokenizer: Any, encoder: Any) -> int:
    """How many tokens an encoder reads of prompts that are tokenised as they stand; length: that of the pipeline."""
    names = (cls.__name__ for cls in type(denoiser_of(pipe)).__mro__)
    longest = next((_LONGEST_CLIP[each] for each in names if each in _LONGEST_CLIP), None)
    if length is None or (longest is None and _is_clip(tokenizer)):
        return window_of(tokenizer, name, encoder)
    if longest is None:
        return length
    return min(length, longest if _is_clip(tokenizer) else tokenizer.model_max_length)


def _is_clip(tokenizer: Any) -> bool:
    return "CLIP" in type(tokenizer).__name__


def _chunks(pipe: Any) -> bool:
    """Whether the pipeline's denoiser takes as many text rows as there are.

    A UNet's cross-attention does. A pipeline around a transformer gives it as many rows as it was trained on, and cuts
    what is longer.
    """
    return getattr(pipe, "transformer", None) is None


def sequence_length(pipe: Any, given: int | None) -> int | None:
    """The `max_sequence_length` with which the pipeline encodes: as given, or its own default; None where it has none.

    Raises `ConfigError` where one is given that the pipeline does not take.
    """
    parameters = inspect.signature(pipe).parameters if callable(pipe) else {}
    if "max_sequence_length" not in parameters:
        if given is not None:
            raise ConfigError(f"{type(pipe).__name__} takes no max_sequence_length; leave it out.")
        return None
    default = parameters["max_sequence_length"].default
    if default is None:
        default = getattr(pipe, "default_max_sequence_length", None)
    if given is None:
        return default if isinstance(default, int) else None
    if given != default and any(cls.__name__ in _UNHEARD for cls in type(pipe).__mro__):
        raise ConfigError(
            f"{type(pipe).__name__} reads {default} tokens, whatever max_sequence_length it is called with; leave it"
            " out."
        )
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ConfigError(f"max_sequence_length={given!r} must be a whole number from 1.")
    return given


def _encoders(pipe: Any) -> Iterator[tuple[str, Any, Any]]:
    for suffix in _SUFFIXES:
        tokenizer = getattr(pipe, f"tokenizer{suffix}", None)
        name = f"text_encoder{suffix}"
        if tokenizer is not None and getattr(pipe, name, tokenizer) is not None:
            yield name, tokenizer, getattr(pipe, name, None)


def _parsed(prompt: str | Prompt, syntax: str) -> Prompt:
    if not isinstance(prompt, str | Prompt):
        raise PromptSyntaxError(
            f"a prompt is one string or a parsed Prompt, not {type(prompt).__name__}: {prompt!r:.60}"
        )
    parsed = as_prompt(prompt, syntax)
    if not parsed.is_plain:
        raise PromptSyntaxError(
            "a plan is of one plain text, and this prompt is scheduled or combines several; plan each of them: "
            "prompt.timeline(steps), prompt.parts"
        )
    return parsed
