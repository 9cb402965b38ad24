"""Where a prompt stands in what its text encoder reads, for pipelines that put it into a template.

A letter that stands in no template is tokenised in a prompt's place, and says where that is
(:mod:`promptattn.prompt.tokenising`).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from promptattn.errors import UnsupportedModelError
from promptattn.prompt.lower_case import lowered, placed_in
from promptattn.prompt.templates import Template, template_of
from promptattn.prompt.tokenising import Observed, index_of, observed
from promptattn.prompt.tokens import Frame, RawToken, Tokenizer, trimmed_range

__all__ = ["Framed", "framed"]


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
    (sentinel, *_) = observed(pipe, template, _SENTINEL, max_sequence_length)
    before, found, after = sentinel.text.partition(_SENTINEL)
    usual = index_of(sentinel.tokenised(truncated=True).ids, sentinel.ids) or 0
    stock = _placed(sentinel, range(len(before), len(before) + len(_SENTINEL)), _as_it_is, usual, template)
    readings = observed(pipe, template, text, max_sequence_length, stock.around)
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
    seen: "Observed", prompt: range, place: Callable[[RawToken], RawToken], usual: int, template: Template
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
    first = index_of(read.ids, seen.ids, usual)
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


def _without_leading(padding: int, ids: Sequence[int]) -> Sequence[int]:
    start = next((at for at, each in enumerate(ids) if each != padding), len(ids))
    return ids[start:]
