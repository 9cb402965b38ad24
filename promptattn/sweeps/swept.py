"""Which words an axis is about: those that its value writes, or those whose weight it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from promptattn.prompt import Prompt, parse
from promptattn.prompt.weights import SpanWeights
from promptattn.prompt.words import occurrences, split_words
from promptattn.run.together import plain_prompts
from promptattn.sweeps.points import Design, Point

__all__ = ["Key", "Subject", "subject_of"]

Key = tuple[str, int]
"""A word of a prompt: its text, and which of several equal ones, from 0."""


@dataclass(frozen=True)
class Subject:
    """What an axis is about.

    `kind` is `weight` where its values are weights of words, `text` where they are words themselves, and `other` where
    they are neither, such as the step of a schedule. `words` are those words: for a `text`, one tuple for each point.
    """

    kind: str
    words: tuple[tuple[Key, ...], ...]

    @property
    def label(self) -> str:
        """The words as they would be written: `red cat`; for a text, those of each point in turn."""
        phrases = dict.fromkeys(" ".join(text for text, _ in words) for words in self.words)
        return ", ".join(phrase for phrase in phrases if phrase)


def subject_of(design: Design, axis: int, syntax: str, steps: int) -> Subject:
    """What the axis of that index is about; `words` has an entry for each point of the design.

    `steps` are those of the run, in which a scheduled prompt has other words at other times.
    """
    read = [_readings(point, axis, syntax, steps) for point in design.points]
    written = tuple(
        _written(readings, *point.places[axis][1:]) for point, readings in zip(design.points, read, strict=True)
    )
    if any(written):
        return Subject("text", written)
    aligned = [_reweighed(read[_first_of_line(design, axis, at)], readings) for at, readings in enumerate(read)]
    weighted = tuple(dict.fromkeys(key for keys in aligned for key in keys))
    return Subject("weight" if weighted else "other", (weighted,) * len(read))


def _first_of_line(design: Design, axis: int, index: int) -> int:
    """The index of the point with the axis' first value and all else alike."""
    at = design.points[index].at
    wanted = (*at[:axis], 0, *at[axis + 1 :])
    return next(place for place, point in enumerate(design.points) if point.at == wanted)


def _readings(point: Point, axis: int, syntax: str, steps: int) -> list[Prompt]:
    """Every plain prompt that the text holding the axis comes to: at its steps, of its parts."""
    in_negative = point.places[axis][0]
    text = (point.negative or "") if in_negative else point.prompt
    return list(plain_prompts(parse(text, syntax), steps))


def _keyed(prompt: Prompt) -> Iterator[tuple[Key, int, int]]:
    """The words of a plain prompt without punctuation, each with its range in the clean text."""
    pieces = list(split_words(prompt.text))
    counts = occurrences(prompt.text[start:end] for start, end, _ in pieces)
    for (start, end, is_punctuation), occurrence in zip(pieces, counts, strict=True):
        if not is_punctuation:
            yield (prompt.text[start:end], occurrence), start, end


def _written(readings: Sequence[Prompt], low: int, high: int) -> tuple[Key, ...]:
    """The words that have a character from `[low, high)` of the text as written."""
    found: dict[Key, None] = {}
    for prompt in readings:
        for key, start, end in _keyed(prompt):
            first, last = prompt.locate(start, end)
            if max(first, low) < min(last, high):
                found[key] = None
    return tuple(found)


def _reweighed(readings: Sequence[Prompt], others: Sequence[Prompt]) -> tuple[Key, ...]:
    """The words that have another weight in `others`, where those have the same text."""
    if [prompt.text for prompt in readings] != [prompt.text for prompt in others]:
        return ()
    found: dict[Key, None] = {}
    for prompt, other in zip(readings, others, strict=True):
        weights, changed = SpanWeights(prompt), SpanWeights(other)
        for key, start, end in _keyed(prompt):
            if weights.of(start, end) != changed.of(start, end):
                found[key] = None
    return tuple(found)
