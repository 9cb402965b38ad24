"""Long prompts: which tokens go into which window of the text encoder.

The rule is A1111's. A window holds `window - 2` tokens of text (for a tokenizer with one start and one end id). One
that overflows is broken after its last comma, if that lies among its last 20 tokens and the token that overflows is
no comma itself; A1111 otherwise breaks anywhere, here it is at the start of a word, unless the word alone fills a
window. `BREAK` closes the current window, an empty one too, and the text after it opens the next; one at the very end
opens nothing.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from promptattn.prompt.tokens import Frame

__all__ = ["COMMA_REACH", "Chunk", "Slot", "fill_windows", "frame_chunk", "part_at_breaks"]

COMMA_REACH = 20


@dataclass(frozen=True, slots=True)
class Slot:
    """What one row of the text embedding holds: `start`, `token`, `end` or `padding`, and for a token its index."""

    kind: str
    token: int | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """One window as the encoder reads it: `ids` and `weights` of length window (weight 1.0 on all but tokens).

    `tokens` are the indices of the plan's tokens in it, `slots` what each of its rows holds.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    tokens: tuple[int, ...]
    slots: tuple[Slot, ...]


def part_at_breaks(starts: Sequence[int], breaks: Sequence[int]) -> list[range]:
    """Token indices between the breaks; `starts` are the tokens' first characters, both ascending."""
    parts: list[list[int]] = [[] for _ in range(len(breaks) + 1)]
    for index, start in enumerate(starts):
        parts[bisect_right(breaks, start)].append(index)
    ranges: list[range] = []
    first = 0
    for part in parts:
        ranges.append(range(first, first + len(part)))
        first += len(part)
    return ranges


def fill_windows(
    parts: Sequence[range], words: Sequence[int | None], is_comma: Sequence[bool], capacity: int
) -> list[range]:
    """The token indices of each window; `words` and `is_comma` tell of each token its word, and if it is a comma."""
    windows: list[range] = []
    for part in parts:
        start = part.start
        while part.stop - start > capacity:
            end = _window_end(start, start + capacity, words, is_comma)
            windows.append(range(start, end))
            start = end
        windows.append(range(start, part.stop))
    if len(windows) > 1 and not windows[-1]:
        windows.pop()
    return windows


def _window_end(start: int, full: int, words: Sequence[int | None], is_comma: Sequence[bool]) -> int:
    """Where the window `[start, full)` ends, given that there is a token at `full`."""
    if not is_comma[full]:
        for place in range(full - 1, max(start, full - COMMA_REACH) - 1, -1):
            if is_comma[place]:
                return place + 1
    end = full
    while end > start and words[end] is not None and words[end] == words[end - 1]:
        end -= 1
    return end if end > start else full


def frame_chunk(ids: Sequence[int], weights: Sequence[float], tokens: range, frame: Frame, window: int) -> Chunk:
    """A window round the given tokens: start, tokens, end, padding (padding first where the tokenizer pads left)."""
    before, after = frame.before, frame.after
    filling = window - len(before) - len(tokens) - len(after)
    padding = [Slot("padding")] * filling
    framed = [
        *[Slot("start")] * len(before),
        *(Slot("token", token) for token in tokens),
        *[Slot("end")] * len(after),
    ]
    framed_ids = (*before, *(ids[token] for token in tokens), *after)
    pad_ids = (frame.padding,) * filling
    left = frame.padding_side == "left"
    slots = [*padding, *framed] if left else [*framed, *padding]
    return Chunk(
        ids=(*pad_ids, *framed_ids) if left else (*framed_ids, *pad_ids),
        weights=tuple(1.0 if slot.token is None else weights[slot.token] for slot in slots),
        tokens=tuple(tokens),
        slots=tuple(slots),
    )
