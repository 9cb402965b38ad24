"""Watching a pipeline tokenise a prompt.

The pipeline is asked to encode, and stopped as soon as it calls its text encoder; the calls of the tokenizer on the way
there say which text became which ids.
"""

import inspect
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from promptattn.errors import UnsupportedModelError
from promptattn.prompt.templates import Template

__all__ = ["Observed", "Tokens", "given_ids", "index_of", "observed"]


@dataclass(frozen=True)
class Tokens:
    """ids, and the characters of the tokenised text that each stands for."""

    ids: tuple[int, ...]
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Observed:
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

    def tokenised(self, *, truncated: bool) -> Tokens:
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
        return Tokens(tuple(ids[:most]), tuple(places[:most]))


_KEPT_OPTIONS = ("add_special_tokens", "split_special_tokens", "sanitize_control_tokens")


class _Read(Exception):
    """The text encoder was called."""


def observed(
    pipe: Any,
    template: Template,
    text: str,
    max_sequence_length: int | None,
    around: tuple[int, int] | None = None,
) -> "list[Observed]":
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
        given.append(given_ids(args, kwargs))
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
    whole = [Observed((call,), ids) for call in calls if call.is_of(ids)]
    fitting = whole or list(_runs(calls, text, ids, around))
    if not fitting and not text.strip():
        return [Observed((), ids)]
    if not fitting:
        raise UnsupportedModelError(
            f"what {type(pipe).__name__} gives {template.encoder} to read is nothing that its tokenizer made of the"
            " text, so promptattn cannot tell which of its tokens are which words."
        )
    return sorted(fitting, key=lambda each: len(each.text), reverse=True)


def _runs(
    calls: "Sequence[_Call]", text: str, ids: tuple[int, ...], around: tuple[int, int] | None
) -> "Iterator[Observed]":
    """Calls in a row that tokenised the text, whose ids stand together somewhere in these; or as many as fit `around`
    with what stands there."""
    first_id, most = (0, 0) if around is None else (around[0], len(ids) - sum(around))
    for first in range(len(calls)):
        for last in range(first, len(calls)):
            run = tuple(calls[first : last + 1])
            made = [each for call in run for each in _bare(call.ids, call.tokenizer)]
            if not made or text.strip() not in "".join(call.text for call in run):
                continue
            if index_of(made, ids) is not None:
                yield Observed(run, ids)
            elif 0 < most < len(made) and tuple(made[:most]) == ids[first_id : first_id + most]:
                yield Observed(run, ids, most)


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

    def again(self, *, truncated: bool) -> Tokens:
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
        return Tokens(tuple(made["input_ids"]), tuple(places))


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


def index_of(part: Sequence[int], whole: Sequence[int], usual: int = 0) -> int | None:
    """Where `part` stands in `whole`: at one of its ends, in the usual place, or anywhere."""
    last = len(whole) - len(part)
    for first in dict.fromkeys((usual, 0, last, *range(last))):
        if 0 <= first <= last and list(whole[first : first + len(part)]) == list(part):
            return first
    return None


def given_ids(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The token ids `[batch, token]` that a text encoder is called with, by name or first; None where it has none."""
    return kwargs.get("input_ids", args[0] if args else None)
