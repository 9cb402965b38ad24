"""Text encoders that read a prompt inside a template: what a pipeline makes of a prompt before it is tokenised.

Nothing here knows a template. The pipeline is asked to encode, and stopped as soon as it calls its text encoder; the
tokenizer's calls on the way there say which text became which ids, and a letter that stands in no template says where
in it the prompt goes.
"""

import inspect
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from promptattn.denoisers import denoiser_of
from promptattn.errors import UnsupportedModelError
from promptattn.prompt.lower_case import lowered, placed_in
from promptattn.prompt.tokens import Frame, RawToken, Tokenizer, trimmed_range

__all__ = ["ALL", "TEMPLATES", "Framed", "Kept", "Template", "framed", "template_of"]


@dataclass(frozen=True)
class Kept:
    """Which of a text encoder's rows become rows of the text: the first `head`, and those from `first` to the last one
    but `cut`, of which there are `most` at most. A negative `first` counts from the end."""

    first: int = 0
    cut: int = 0
    head: int = 0
    most: int | None = None

    def rows(self, window: int) -> tuple[int, ...]:
        """Their numbers, of so many rows."""
        first = self.first if self.first >= 0 else max(self.head, window + self.first)
        stop = window - self.cut
        return (*range(self.head), *range(first, stop if self.most is None else min(stop, first + self.most)))


ALL = Kept()


@dataclass(frozen=True)
class Template:
    """How a pipeline has its prompts read.

    Attributes:
        encoder: the name of the text encoder whose rows the words are.
        first: name of the pipeline's attribute that says how many of the encoder's first rows are left out.
        limited: whether `max_sequence_length` is how many rows are kept at most, and not how many tokens are read.
        pooled: names of further text encoders, of which the denoiser gets a pooled vector alone. They read prompts as
            they stand.
        kept: which of the encoder's rows are kept otherwise.
        last: whether the first row is kept and the last ones, `max_sequence_length` together.
        bare: whether those of what stands round a prompt and its padding are left out, however many they are.
        side: where the shorter prompts of a batch are filled up, if not where the tokenizer does.
        negative: whether negative prompts are read in the template too; if not, they are tokenised as they stand and
            filled up to `max_sequence_length`.
    """

    encoder: str = "text_encoder"
    pooled: tuple[str, ...] = ()
    first: str | None = None
    limited: bool = False
    kept: Kept = ALL
    bare: bool = False
    last: bool = False
    side: Literal["left", "right"] | None = None
    negative: bool = True

    def keeps(self, pipe: Any, framed: "Framed", max_sequence_length: int | None) -> Kept:
        """Which of the encoder's rows are kept of a prompt that is read so."""
        if self.bare:
            return Kept(*framed.around)
        if self.last and max_sequence_length is not None:
            return Kept(head=1, first=1 - max_sequence_length)
        if self.first is None:
            return self.kept
        return Kept(int(getattr(pipe, self.first)), most=max_sequence_length if self.limited else None)


# By the denoiser's class.
TEMPLATES: dict[str, Template] = {
    "QwenImageTransformer2DModel": Template(first="prompt_template_encode_start_idx", limited=True, side="right"),
    "Flux2Transformer2DModel": Template(),
    "ZImageTransformer2DModel": Template(),
    "Lumina2Transformer2DModel": Template(negative=False),
    "CogView3PlusTransformer2DModel": Template(),
    "CogView4Transformer2DModel": Template(),
    "ErnieImageTransformer2DModel": Template(side="right"),
    "OvisImageTransformer2DModel": Template(first="user_prompt_begin_id"),
    "BriaTransformer2DModel": Template(),
    "BriaFiboTransformer2DModel": Template(),
    "NucleusMoEImageTransformer2DModel": Template(),
    "QwenImage21Transformer2DModel": Template(first="_drop_idx", side="right"),
    "Krea2Transformer2DModel": Template(first="prompt_template_encode_start_idx"),
    "LongCatImageTransformer2DModel": Template(bare=True),
    "PRXTransformer2DModel": Template(),
    "LuminaNextDiT2DModel": Template(),
    "Kandinsky3UNet": Template(),
    "Kandinsky5Transformer3DModel": Template(pooled=("text_encoder_2",), first="prompt_template_encode_start_idx"),
    "SanaTransformer2DModel": Template(last=True, negative=False),
    "HunyuanImageTransformer2DModel": Template(first="prompt_template_encode_start_idx"),
}


@dataclass(frozen=True)
class Framed:
    """A prompt as its text encoder reads it.

    tokens: those of the prompt, their characters those of the clean text; lost: those that did not fit; frame: what
    stands round them; ids: all that the encoder is given, filled up; tokenizer: what made them; around: how many ids
    stand before what the prompt was tokenised with, and behind that and its padding.
    """

    tokens: tuple[RawToken, ...]
    lost: tuple[RawToken, ...]
    frame: Frame
    ids: tuple[int, ...]
    tokenizer: Tokenizer
    around: tuple[int, int]


def template_of(pipe: Any) -> Template | None:
    """The template of a pipeline's denoiser, or None where a prompt is tokenised as it stands."""
    return next((TEMPLATES[cls.__name__] for cls in type(denoiser_of(pipe)).__mro__ if cls.__name__ in TEMPLATES), None)


# In the private use area of Unicode: in no template, no prompt, and left alone by whatever cleans a prompt.
_SENTINEL = "\ue0f1"


def framed(pipe: Any, text: str, max_sequence_length: int | None = None) -> Framed:
    """How the pipeline has this text read.

    Raises:
        UnsupportedModelError: for a pipeline that calls no text encoder, or does more with a prompt than to put it into
            a template.
    """
    template = template_of(pipe)
    assert template is not None
    (sentinel, *_) = _observed(pipe, template, _SENTINEL, max_sequence_length)
    before, found, after = sentinel.text.partition(_SENTINEL)
    usual = _index_of(sentinel.tokenised(truncated=True).ids, sentinel.ids) or 0
    stock = _placed(sentinel, range(len(before), len(before) + len(_SENTINEL)), _as_it_is, usual, template)
    readings = _observed(pipe, template, text, max_sequence_length, stock.around)
    for seen in readings if found else ():
        inner = seen.text[len(before) : len(seen.text) - len(after)]
        origin = _origin(text, inner)
        if seen.calls and seen.text == before + inner + after and origin is not None:
            place = partial(placed_in, origin=origin, end=len(text))
            return _placed(seen, range(len(before), len(before) + len(inner)), place, usual, template)
    (seen, *_) = readings
    if not text.strip():
        # Nothing to tokenise: all that the encoder reads is what stands round a prompt.
        frame = replace(stock.frame, before=seen.ids, after=())
        return replace(stock, tokens=(), lost=(), frame=frame, ids=seen.ids)
    inner = seen.text[len(before) : len(seen.text) - len(after)]
    raise UnsupportedModelError(
        f"{type(pipe).__name__} does more with the prompt {text!r:.40} than to put it into a template, so promptattn"
        f" cannot tell which of its tokens are which words; write {inner!r:.60}, which is what it reads."
    )


def _as_it_is(token: RawToken) -> RawToken:
    return token


def _origin(text: str, inner: str) -> Sequence[int] | None:
    """For each character of what is read in a template the one of the text that it was made of. None where that is more
    than the text with other blanks, or in lower case."""
    for read, origin in ((text, range(len(text))), lowered(text)):
        words, found = ([(each.start(), each.group()) for each in re.finditer(r"\S+", one)] for one in (read, inner))
        if [word for _, word in words] == [word for _, word in found]:
            places = [0] * len(inner)
            stop = 0
            for (start, word), (first, _) in zip(words, found, strict=True):
                places[stop:first] = [origin[start - 1] if start else 0] * (first - stop)
                stop = first + len(word)
                places[first:stop] = origin[start : start + len(word)]
            places[stop:] = [len(text) - 1] * (len(inner) - stop)
            return places
    return None


def _placed(
    seen: "_Observed", prompt: range, place: Callable[[RawToken], RawToken], usual: int, template: Template
) -> Framed:
    """The reading of a prompt.

    prompt: its place in `seen.text`. place: from a token of that to the same with its characters in the clean text.
    usual: the row of another prompt's first token, which tells places apart where the same ids stand twice.
    """
    read = seen.tokenised(truncated=True)
    every = seen.tokenised(truncated=False)
    start, stop = prompt.start, prompt.stop

    def inside(places: Sequence[tuple[int, int]]) -> range:
        found = [at for at, (first, last) in enumerate(places) if first < stop and last > start and last > first]
        if found:
            return range(found[0], found[-1] + 1)
        behind = (at for at, (first, last) in enumerate(places) if last > first and first >= stop)
        at = next(behind, len(places))
        return range(at, at)

    def tokens(ids: Sequence[int], places: Sequence[tuple[int, int]], chosen: range) -> tuple[RawToken, ...]:
        text = seen.text[start:stop]
        clipped = [(max(places[at][0], start) - start, min(places[at][1], stop) - start) for at in chosen]
        trimmed = [trimmed_range(text, *place) for place in clipped]
        return tuple(place(RawToken(ids[at], first, last)) for at, (first, last) in zip(chosen, trimmed, strict=True))

    own, whole = inside(read.places), inside(every.places)
    first = _index_of(read.ids, seen.ids, usual)
    if first is None:
        raise UnsupportedModelError(
            f"{template.encoder} is given other tokens than its tokenizer made of the prompt in its template, so no"
            " weight could be placed; its pipeline is not one promptattn knows."
        )
    lead, tail = seen.ids[:first], seen.ids[first + len(read.ids) :]
    padding = int(seen.tokenizer.pad_token_id or 0) if not lead + tail else (lead or tail)[0]
    side = seen.padding_side if not lead + tail else "left" if lead else "right"
    if any(each != padding for each in lead + tail):
        # Padding between, or other ids round what the prompt was tokenised with, are as good as a template.
        padding, fixed = int(seen.tokenizer.pad_token_id or 0), (lead, tail)
    else:
        fixed = ((), ())
    return Framed(
        tokens=tokens(read.ids, read.places, own),
        lost=tokens(every.ids, every.places, whole)[len(own) :],
        frame=Frame(
            before=(*fixed[0], *read.ids[: own.start]),
            after=(*read.ids[own.stop :], *fixed[1]),
            padding=padding,
            padding_side=template.side or side,
        ),
        ids=seen.ids,
        tokenizer=seen.tokenizer,
        around=(len(fixed[0]), len(_without_leading(padding, fixed[1]))),
    )


def _index_of(part: Sequence[int], whole: Sequence[int], usual: int = 0) -> int | None:
    """Where `part` stands in `whole`: at one of its ends, in the usual place, or anywhere."""
    last = len(whole) - len(part)
    for first in dict.fromkeys((usual, 0, last, *range(last))):
        if 0 <= first <= last and list(whole[first : first + len(part)]) == list(part):
            return first
    return None


def _without_leading(padding: int, ids: Sequence[int]) -> Sequence[int]:
    start = next((at for at, each in enumerate(ids) if each != padding), len(ids))
    return ids[start:]


# Watching a pipeline encode.


@dataclass(frozen=True)
class _Tokens:
    """ids, and the characters of the tokenised text that each stands for."""

    ids: tuple[int, ...]
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Observed:
    """One text as it was tokenised, in one call or piece by piece, and the ids that the text encoder was given.

    Without a call where there was no text to tokenise. most: how many of the tokens were taken, where it was not the
    tokenizer that cut off the others.
    """

    calls: "tuple[_Call, ...]"
    ids: tuple[int, ...]
    most: int | None = None

    @property
    def text(self) -> str:
        return "".join(call.text for call in self.calls)

    @property
    def tokenizer(self) -> Any:
        return self.calls[0].tokenizer

    @property
    def padding_side(self) -> str:
        return str(self.calls[0].options.get("padding_side") or self.tokenizer.padding_side)

    def tokenised(self, *, truncated: bool) -> _Tokens:
        """Not filled up. truncated: cut off as it was, or whole."""
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        start = 0
        for call in self.calls:
            made = call.again(truncated=truncated)
            ids += made.ids
            places += [(start + first, start + last) for first, last in made.places]
            start += len(call.text)
        most = self.most if truncated else None
        return _Tokens(tuple(ids[:most]), tuple(places[:most]))


_KEPT_OPTIONS = ("add_special_tokens", "split_special_tokens", "sanitize_control_tokens")


class _Read(Exception):
    """The text encoder was called."""


def _observed(
    pipe: Any,
    template: Template,
    text: str,
    max_sequence_length: int | None,
    around: tuple[int, int] | None = None,
) -> "list[_Observed]":
    """What the pipeline may have tokenised of the text, that of the most characters first; never empty.

    around: how many ids stand before and behind those of a prompt, if that is known.
    """
    encoder = getattr(pipe, template.encoder, None)
    if encoder is None:
        raise UnsupportedModelError(
            f"{type(pipe).__name__} cannot encode a prompt without {template.encoder}, which is None; load it, or use a"
            " pipeline that has it."
        )
    given: list[Any] = []

    def stop(module: Any, args: Any, kwargs: Any) -> None:
        given.append(kwargs.get("input_ids", args[0] if args else None))
        raise _Read

    handle = encoder.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        with _recorded(pipe) as calls:
            pipe.encode_prompt(**_options(pipe, text, max_sequence_length))
    except _Read:
        pass
    finally:
        handle.remove()
    if not given or given[0] is None:
        raise UnsupportedModelError(
            f"{type(pipe).__name__} encodes a prompt without calling {template.encoder} with token ids, so promptattn"
            " cannot see how it reads it."
        )
    ids = tuple(int(each) for each in given[0][0].tolist())
    whole = [_Observed((call,), ids) for call in calls if call.is_of(ids)]
    fitting = whole or list(_runs(calls, text, ids, around))
    if not fitting and not text.strip():
        return [_Observed((), ids)]
    if not fitting:
        raise UnsupportedModelError(
            f"what {type(pipe).__name__} gives {template.encoder} to read is nothing that its tokenizer made of the"
            " text, so promptattn cannot tell which of its tokens are which words."
        )
    return sorted(fitting, key=lambda each: len(each.text), reverse=True)


def _runs(
    calls: "Sequence[_Call]", text: str, ids: tuple[int, ...], around: tuple[int, int] | None
) -> "Iterator[_Observed]":
    """Calls in a row that tokenised the text, whose ids stand together somewhere in these; or as many as fit `around`
    with what stands there."""
    first_id, most = (0, 0) if around is None else (around[0], len(ids) - sum(around))
    for first in range(len(calls)):
        for last in range(first, len(calls)):
            run = tuple(calls[first : last + 1])
            made = [each for call in run for each in _bare(call.ids, call.tokenizer)]
            if not made or text.strip() not in "".join(call.text for call in run):
                continue
            if _index_of(made, ids) is not None:
                yield _Observed(run, ids)
            elif 0 < most < len(made) and tuple(made[:most]) == ids[first_id : first_id + most]:
                yield _Observed(run, ids, most)


def _options(pipe: Any, text: str, max_sequence_length: int | None) -> dict[str, Any]:
    """What the pipeline's own call gives `encode_prompt` unless it is told."""
    takes = inspect.signature(pipe.encode_prompt).parameters
    wanted: dict[str, Any] = {
        name: parameter.default
        for name, parameter in inspect.signature(pipe.__call__).parameters.items()
        if parameter.default is not parameter.empty
    } | {
        "prompt": [text],
        "device": pipe._execution_device,
        "num_images_per_prompt": 1,
        "do_classifier_free_guidance": False,
    }
    if max_sequence_length is not None:
        wanted["max_sequence_length"] = max_sequence_length
    return {name: value for name, value in wanted.items() if name in takes}


@dataclass(frozen=True)
class _Call:
    """One text that a tokenizer was called with, and what it made of it."""

    tokenizer: Any
    text: str
    options: dict[str, Any]
    ids: tuple[int, ...]

    def is_of(self, ids: Sequence[int]) -> bool:
        """Whether the ids that an encoder was given are these, filled up further or less."""
        one, other = _bare(self.ids, self.tokenizer), _bare(ids, self.tokenizer)
        return bool(one) and one == other

    def again(self, *, truncated: bool) -> _Tokens:
        """The text tokenised once more, not filled up. truncated: cut off as it was, or whole."""
        options = {name: value for name, value in self.options.items() if name in _KEPT_OPTIONS}
        if truncated:
            options |= {name: value for name, value in self.options.items() if name in ("truncation", "max_length")}
        made = self.tokenizer(self.text, **options, return_offsets_mapping=True, verbose=False)
        spoken = made.sequence_ids(0)
        # A token that the tokenizer adds by itself stands for no character.
        places = [
            (start, end) if who is not None else (0, 0)
            for who, (start, end) in zip(spoken, made["offset_mapping"], strict=True)
        ]
        return _Tokens(tuple(made["input_ids"]), tuple(places))


def _bare(ids: Sequence[int], tokenizer: Any) -> tuple[int, ...]:
    """Without padding at either end."""
    kept = list(ids)
    while kept and kept[-1] == tokenizer.pad_token_id:
        kept.pop()
    first = next((at for at, each in enumerate(kept) if each != tokenizer.pad_token_id), len(kept))
    return tuple(kept[first:])


_one_at_a_time = threading.RLock()


@contextmanager
def _recorded(pipe: Any) -> Iterator[list[_Call]]:
    """While open, every text that one of the pipeline's tokenizers is called with goes into the list.

    A chat template calls the tokenizer from inside, so the tokenizer's own class is stood in for, and not the
    pipeline's attribute.
    """
    calls: list[_Call] = []
    with _one_at_a_time, ExitStack() as stack:
        for tokenizer in _tokenizers(pipe):
            own = type(tokenizer)
            stack.callback(setattr, tokenizer, "__class__", own)
            tokenizer.__class__ = type(own.__name__, (own,), {"__call__": _recording(own, calls)})
        yield calls


def _recording(own: type, calls: list[_Call]) -> Any:
    def call(self: Any, text: Any = None, *args: Any, **options: Any) -> Any:
        made = own.__call__(self, text, *args, **options)
        texts = [text] if isinstance(text, str) else text
        if not args and isinstance(texts, list | tuple) and all(isinstance(each, str) for each in texts):
            rows = made["input_ids"]
            rows = rows.tolist() if hasattr(rows, "tolist") else rows
            rows = [rows] if rows and isinstance(rows[0], int) else rows
            calls.extend(_Call(self, each, options, tuple(row)) for each, row in zip(texts, rows, strict=False))
        return made

    return call


def _tokenizers(pipe: Any) -> list[Any]:
    parts = [getattr(part, "tokenizer", part) for part in pipe.components.values()]
    return list({id(part): part for part in parts if getattr(part, "is_fast", False)}.values())
