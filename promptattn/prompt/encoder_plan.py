"""One text encoder's reading of a prompt: ids, weight per token, words, chunks, and what does not fit."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from promptattn.errors import ConfigError, UnsupportedModelError
from promptattn.prompt.chunks import Chunk, Slot, fill_windows, frame_chunk, part_at_breaks
from promptattn.prompt.diagnostics import Diagnostic, few_of_each
from promptattn.prompt.findings import find_in_tokens
from promptattn.prompt.framing import Framed
from promptattn.prompt.lower_case import encode_lowered
from promptattn.prompt.templates import ALL, Kept
from promptattn.prompt.tokens import Frame, RawToken, TextToken, Token, Tokenizer, display, encode, window_of
from promptattn.prompt.tree import Prompt
from promptattn.prompt.weights import SpanWeights
from promptattn.prompt.words import Word, find, occurrences, split_words

__all__ = ["EncoderPlan", "plan_framed", "plan_tokens"]


@dataclass(frozen=True, kw_only=True)
class EncoderPlan:
    """How one text encoder reads a prompt.

    `window` is the length of a chunk, start and end included. `tokens` are those that the encoder reads, `lost` those
    that it cannot take, `words` all words and runs of punctuation of the clean text, `cut` the words among them that
    lost a token. The text embedding has `window` rows per chunk, one after the other, or those of them that are `kept`;
    `slots` says what each holds. `frame` is what stands round the tokens of a chunk. `diagnostics` are those about
    tokens; the prompt has its own.
    """

    name: str
    window: int
    prompt: Prompt
    tokens: tuple[Token, ...]
    lost: tuple[TextToken, ...]
    words: tuple[Word, ...]
    chunks: tuple[Chunk, ...]
    empty_chunk: Chunk = field(repr=False)
    diagnostics: tuple[Diagnostic, ...] = ()
    frame: Frame = field(repr=False)
    kept: Kept = ALL

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """What each row of the text embedding holds: row `chunk * window + i`, or the i-th one that is kept."""
        return tuple(chunk.slots[row] for chunk in self.chunks for row in self.kept.rows(self.window))

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """The weight of each row of the text embedding, in the order of `slots`; 1 on all that hold no token."""
        return tuple(chunk.weights[row] for chunk in self.chunks for row in self.kept.rows(self.window))

    @property
    def cut(self) -> tuple[Word, ...]:
        """The words that do not fit into the encoder, or not whole."""
        indices = {token.word for token in self.lost if token.word is not None}
        return tuple(self.words[index] for index in sorted(indices))

    @property
    def is_weighted(self) -> bool:
        """Whether any token that the encoder reads has a weight other than 1."""
        return any(token.weight != 1.0 for token in self.tokens)

    def padded(self, chunks: int) -> "EncoderPlan":
        """The same plan with empty chunks (start, end, padding) appended until there are `chunks` of them.

        Raises `ConfigError` where the prompt already takes more.
        """
        missing = chunks - len(self.chunks)
        if missing < 0:
            raise ConfigError(f"{self.name}: a prompt of {len(self.chunks)} chunks cannot be put into {chunks}")
        return replace(self, chunks=self.chunks + (self.empty_chunk,) * missing)

    def widened(self, window: int) -> "EncoderPlan":
        """The same plan of one chunk, filled up to a longer window, as the shorter prompts of a batch are."""
        ids, weights = [token.id for token in self.tokens], [token.weight for token in self.tokens]
        chunk = frame_chunk(ids, weights, range(len(ids)), self.frame, window)
        return replace(
            self,
            window=window,
            tokens=_placed(self.tokens, (chunk,), window, self.kept)[0],
            chunks=(chunk,),
            empty_chunk=frame_chunk((), (), range(0), self.frame, window),
        )

    def find(self, phrase: str, occurrence: int = 0) -> tuple[Word, ...]:
        """The words of the given occurrence (from 0) of a word or phrase; raises `CaptureError` on a miss."""
        return find(self.words, phrase, occurrence)


def plan_tokens(
    prompt: Prompt,
    tokenizer: Tokenizer,
    *,
    name: str,
    can_chunk: bool = True,
    window: int | None = None,
    lower_case: bool = False,
) -> EncoderPlan:
    """Tokenise the clean text of `prompt` once and place its weights, words and chunks.

    The ids of a chunk are those of the tokenizer's own call with `padding="max_length", truncation=True` on the
    unweighted text. Where the encoder cannot take several chunks (`can_chunk` False), the tokens beyond one window are
    in `.lost`, their words in `.cut`, and a diagnostic names them. `window` overrides what the tokenizer says. With
    `lower_case` the tokenizer is given the text in lower case and stripped, as some pipelines do.

    Raises `UnsupportedModelError` for a tokenizer without character offsets, window or padding token, `ConfigError`
    for a window that leaves no room for text.
    """
    window = window_of(tokenizer, name) if window is None else window
    raw, frame = (encode_lowered if lower_case else encode)(tokenizer, prompt.text, name)
    capacity = window - len(frame.before) - len(frame.after)
    if capacity < 1:
        raise ConfigError(f"{name}: a window of {window} tokens leaves no room for text beside its start and end")
    kept, lost = (raw, []) if can_chunk else _truncated(raw, capacity, tokenizer.truncation_side)
    tokens, words = _read(prompt, tokenizer, kept, lost)
    inside = _windows(prompt, tokens[: len(kept)], tokenizer, capacity) if can_chunk else [range(len(kept))]
    return _planned(prompt, tokenizer, name, tokens, words, inside, frame, window, can_chunk=can_chunk)


def plan_framed(prompt: Prompt, tokenizer: Tokenizer, framed: Framed, *, name: str, kept: Kept) -> EncoderPlan:
    """Place the weights and words of `prompt`, which is read inside a template, in one window.

    kept: which of the encoder's rows become rows of the text. A token in another row is among the lost.
    """
    window = len(framed.ids)
    tokens, words = _read(prompt, tokenizer, framed.tokens, framed.lost)
    inside = [range(len(framed.tokens))]
    plan = _planned(prompt, tokenizer, name, tokens, words, inside, framed.frame, window, kept=kept)
    if plan.chunks[0].ids != framed.ids:
        raise UnsupportedModelError(
            f"{name} reads other tokens than were planned for the prompt, so no weight could be placed; its tokenizer"
            " is not one promptattn knows."
        )
    return plan


def _planned(
    prompt: Prompt,
    tokenizer: Tokenizer,
    name: str,
    tokens: Sequence[TextToken],
    words: tuple[Word, ...],
    inside: Sequence[range],
    frame: Frame,
    window: int,
    *,
    can_chunk: bool = False,
    kept: Kept = ALL,
) -> EncoderPlan:
    """The plan of these tokens, of which those `inside` the windows are read."""
    ids, weights = [token.id for token in tokens], [token.weight for token in tokens]
    chunks = tuple(frame_chunk(ids, weights, members, frame, window) for members in inside)
    placed, dropped = _placed(tokens, chunks, window, kept)
    read = sum(map(len, inside))
    plan = EncoderPlan(
        name=name,
        window=window,
        prompt=prompt,
        tokens=placed,
        lost=(*dropped, *tokens[read:]),
        words=words,
        chunks=chunks,
        empty_chunk=frame_chunk((), (), range(0), frame, window),
        frame=frame,
        kept=kept,
    )
    return replace(plan, diagnostics=few_of_each(find_in_tokens(plan, tokenizer, frame, can_chunk)))


def _truncated(raw: list[RawToken], capacity: int, side: str) -> tuple[list[RawToken], list[RawToken]]:
    """The tokens that the tokenizer's own truncation keeps, and the others."""
    spare = max(0, len(raw) - capacity)
    return (raw[spare:], raw[:spare]) if side == "left" else (raw[: len(raw) - spare], raw[len(raw) - spare :])


def _read(
    prompt: Prompt, tokenizer: Tokenizer, kept: Sequence[RawToken], lost: Sequence[RawToken]
) -> tuple[list[TextToken], tuple[Word, ...]]:
    """The tokens, those kept first, with their weights and words, and the words with the tokens kept."""
    text, weights = prompt.text, SpanWeights(prompt)
    pieces = list(split_words(text))
    starts = [start for start, _, _ in pieces]
    shown: dict[tuple[int, str], str] = {}
    tokens: list[TextToken] = []
    for index, token in enumerate([*kept, *lost]):
        key = (token.id, text[token.start : token.end])
        if key not in shown:
            shown[key] = display(tokenizer, token, text)
        word = _word_of(token, pieces, starts)
        weight = weights.of(token.start, token.end)
        tokens.append(TextToken(index, token.id, shown[key], token.start, token.end, weight, word))
    members: list[list[int]] = [[] for _ in pieces]
    for member in tokens[: len(kept)]:
        if member.word is not None:
            members[member.word].append(member.index)
    return tokens, _words(text, pieces, members, weights)


def _word_of(token: RawToken, pieces: Sequence[tuple[int, int, bool]], starts: Sequence[int]) -> int | None:
    """The word that holds most of the token's characters; the first of equals."""
    best, most = None, 0
    for index in range(max(0, bisect_right(starts, token.start) - 1), len(pieces)):
        start, end, _ = pieces[index]
        if start >= token.end:
            break
        shared = min(end, token.end) - max(start, token.start)
        if shared > most:
            best, most = index, shared
    return best


def _words(
    text: str, pieces: Sequence[tuple[int, int, bool]], members: Sequence[Sequence[int]], weights: SpanWeights
) -> tuple[Word, ...]:
    words: list[Word] = []
    counts = occurrences(text[start:end] for start, end, _ in pieces)
    for index, ((start, end, is_punctuation), occurrence) in enumerate(zip(pieces, counts, strict=True)):
        weight = weights.of(start, end)
        tokens = tuple(members[index])
        words.append(Word(index, text[start:end], start, end, occurrence, tokens, weight, is_punctuation))
    return tuple(words)


def _windows(prompt: Prompt, tokens: Sequence[TextToken], tokenizer: Tokenizer, capacity: int) -> list[range]:
    parts = part_at_breaks([token.start for token in tokens], prompt.breaks)
    comma = encode(tokenizer, ",", "")[0]
    identity = comma[0].id if len(comma) == 1 else None
    is_comma = [token.id == identity and prompt.text[token.start : token.end] == "," for token in tokens]
    return fill_windows(parts, [token.word for token in tokens], is_comma, capacity)


def _placed(
    tokens: Sequence[TextToken], chunks: Sequence[Chunk], window: int, kept: Kept
) -> tuple[tuple[Token, ...], tuple[TextToken, ...]]:
    """The tokens in the rows of the text, and those whose rows are not kept."""
    rows = {row: place for place, row in enumerate(kept.rows(window))}
    placed: list[Token] = []
    dropped: list[TextToken] = []
    for number, chunk in enumerate(chunks):
        for row, slot in enumerate(chunk.slots):
            if slot.token is None:
                continue
            t = tokens[slot.token]
            if row in rows:
                place = number * len(rows) + rows[row]
                placed.append(Token(t.index, t.id, t.text, t.start, t.end, t.weight, t.word, number, place))
            else:
                dropped.append(t)
    return tuple(placed), tuple(dropped)
