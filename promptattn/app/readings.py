"""What each text encoder of a model makes of a prompt: tokens, windows, and what is cut off, in the text as typed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptattn.prompt import EncoderPlan, Prompt, plan
from promptattn.prompt.canonical import children
from promptattn.prompt.diagnostics import Diagnostic

__all__ = ["Reading", "readings"]


@dataclass(frozen=True)
class Reading:
    """One text encoder's reading of a prompt; positions are those of the text as it was typed.

    Attributes:
        encoder: its name in the pipeline.
        room: tokens that one window holds.
        used: tokens in each window.
        borders: where a window begins, and its number; the first, which is 1, is left out.
        lost: the characters that are not read.
        cut: the words that are not read, or not whole.
        findings: what else is odd about the tokens, such as text that the tokenizer does not know.
    """

    encoder: str
    room: int
    used: tuple[int, ...]
    borders: Mapping[int, int]
    lost: frozenset[int]
    cut: tuple[str, ...]
    findings: tuple[Diagnostic, ...] = ()


def readings(pipe: Any, prompt: Prompt, steps: int) -> tuple[Reading, ...]:
    """The readings of the text encoders of `pipe`, which may be no more than its tokenizers.

    A prompt that changes from step to step is read as it is at its longest. Of prompts that are joined by AND, or
    blended, each has windows of its own; counted are those of the longest.

    Args:
        steps: how many a run is to have, for prompts that change.

    Raises:
        PromptAttnError: when the prompt cannot be read, or the model is none whose text is known.
    """
    moments = dict.fromkeys(each for _, each in prompt.timeline(steps)) if prompt.is_scheduled else [prompt]
    # By the part's number: what each encoder makes of it at each of its moments.
    parts: dict[int, list[tuple[EncoderPlan, ...]]] = {}
    for moment in moments:
        for number, part in enumerate(_plain(moment)):
            parts.setdefault(number, []).append(plan(pipe, part).encoders)
    longest = [[max(each, key=_length) for each in zip(*plans, strict=True)] for plans in parts.values()]
    return tuple(_reading(each) for each in zip(*longest, strict=True))


def _plain(prompt: Prompt) -> Iterator[Prompt]:
    """The prompt itself, or the plain ones that it joins or blends."""
    if prompt.is_plain:
        yield prompt
    else:
        for node in prompt.nodes:
            for inner in children(node):
                yield from _plain(inner)


def _length(plan: EncoderPlan) -> int:
    return len(plan.tokens) + len(plan.lost)


def _reading(parts: Sequence[EncoderPlan]) -> Reading:
    """One encoder's reading of all parts of a prompt."""
    longest = max(parts, key=_length)
    frame = len(longest.frame.before) + len(longest.frame.after)
    return Reading(
        encoder=longest.name,
        room=max(1, longest.window - frame),
        used=tuple(len(chunk.tokens) for chunk in longest.chunks),
        borders={place: window for part in parts for place, window in _borders(part)},
        lost=frozenset(place for part in parts for place in _lost(part)),
        cut=tuple(word.text for part in parts for word in part.cut if not word.is_punctuation),
        findings=tuple(each for part in parts for each in part.diagnostics if each.code != "cut-words"),
    )


def _borders(plan: EncoderPlan) -> Iterator[tuple[int, int]]:
    for number, chunk in enumerate(plan.chunks[1:], start=2):
        if chunk.tokens:
            first = plan.tokens[chunk.tokens[0]]
            yield plan.prompt.locate(first.start, first.end)[0], number


def _lost(plan: EncoderPlan) -> Iterator[int]:
    """The characters of the tokens that are not read, and the blanks between any two of these."""
    unread: set[int] = set()  # in the clean text
    for before, token in zip((None, *plan.lost), plan.lost, strict=False):
        follows = before is not None and before.index + 1 == token.index
        unread.update(range(before.end if before and follows else token.start, token.end))
    for span, (start, _) in zip(plan.prompt.spans, plan.prompt.ranges, strict=True):
        yield from (place for at, place in enumerate(span.origins, start) if at in unread)
