"""Asking a tokenizer: the ids of a text with the characters each stands for, and how it frames and pads them.

Nothing here knows a vocabulary. The start, end and padding ids are read off what the tokenizer itself returns.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from promptattn.errors import UnsupportedModelError
from promptattn.prompt.letters import kind_of
from promptattn.prompt.sentencepieces import model_of, pieces

__all__ = ["Frame", "RawToken", "TextToken", "Token", "Tokenizer", "display", "encode", "trimmed_range", "window_of"]

_UNSET_WINDOW = 1_000_000  # transformers gives a tokenizer without a window a model_max_length of 1e30


class Tokenizer(Protocol):
    """What is used of a transformers tokenizer: of any that is backed by the `tokenizers` library, or that is written
    round a SentencePiece model."""

    model_max_length: int
    pad_token_id: int | None
    padding_side: str
    truncation_side: str
    added_tokens_decoder: dict[int, Any]

    def __call__(self, text: str, **options: Any) -> Any: ...
    def decode(self, token_ids: Any) -> Any: ...
    def convert_ids_to_tokens(self, ids: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class RawToken:
    """An id and the range of characters of the clean text that it stands for, surrounding whitespace left off."""

    id: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TextToken:
    """A token of the clean text.

    `text` is the token as decoded, for display; `start` and `end` its range in the clean text (several tokens may
    share one, where one character took several); `weight` that of the span holding most of its characters; `word`
    the index of its word, None for a token of invisible characters.
    """

    index: int
    id: int
    text: str
    start: int
    end: int
    weight: float
    word: int | None


@dataclass(frozen=True, slots=True)
class Token(TextToken):
    """A token that the encoder reads: in which chunk, and as which row (`slot`) of the text embedding."""

    chunk: int
    slot: int


@dataclass(frozen=True, slots=True)
class Frame:
    """What a tokenizer puts round a text: ids before it and after it, and the id that fills the window."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    padding: int
    padding_side: str


def window_of(tokenizer: Tokenizer, name: str, encoder: object = None) -> int:
    """The number of rows that the encoder reads at once, start and end included.

    The tokenizer's `model_max_length`, or where it has none the encoder's `max_position_embeddings`. Raises
    `UnsupportedModelError` where neither is known.
    """
    window = getattr(tokenizer, "model_max_length", None)
    if window is None or window > _UNSET_WINDOW:
        window = getattr(getattr(encoder, "config", None), "max_position_embeddings", None)
    if window is None:
        raise UnsupportedModelError(f"{name}: its tokenizer does not say how many tokens it reads (model_max_length)")
    return int(window)


def encode(tokenizer: Tokenizer, text: str, name: str) -> tuple[list[RawToken], Frame]:
    """Tokenise `text` once: its tokens with their characters, and the frame round them.

    Raises `UnsupportedModelError` for a tokenizer that cannot tell which characters a token stands for, or has no
    padding token.
    """
    read = _read(tokenizer, text, name)
    raw = [RawToken(read.ids[place], *trimmed_range(text, *read.places[place])) for place in read.inside]
    return _with_vectors(tokenizer, _with_marks(text, raw)), _frame(tokenizer, read, name)


@dataclass(frozen=True)
class _Read:
    """The ids of a text, the characters of each, and the places among them that hold the text itself: empty, at the
    start, where the text made no token."""

    ids: list[int]
    places: list[tuple[int, int]]
    inside: range


def _read(tokenizer: Tokenizer, text: str, name: str) -> _Read:
    if getattr(tokenizer, "is_fast", False):
        made = tokenizer(text, return_offsets_mapping=True, verbose=False)
        inside = [place for place, sequence in enumerate(made.sequence_ids(0)) if sequence is not None]
        content = range(inside[0], inside[-1] + 1) if inside else range(0)
        return _Read(list(made["input_ids"]), list(made["offset_mapping"]), content)
    if model_of(tokenizer) is not None:
        ids, found, first = pieces(tokenizer, text, name)
        places = [(0, 0)] * len(ids)
        places[first : first + len(found)] = [(start, end) for _, start, end in found]
        return _Read(ids, places, range(first, first + len(found)) if found else range(0))
    raise UnsupportedModelError(
        f"{name}: {type(tokenizer).__name__} cannot tell which characters a token stands for, so weights cannot be "
        "placed; load a tokenizer backed by the tokenizers library (AutoTokenizer.from_pretrained gives one)"
    )


def _frame(tokenizer: Tokenizer, read: _Read, name: str) -> Frame:
    if not read.inside:  # the text made no token: a letter tells where the content would stand
        read = _read(tokenizer, "a", name)
    ids, inside = read.ids, read.inside
    if not inside:
        bos = getattr(tokenizer, "bos_token_id", None)
        inside = range(1, 1) if ids[:1] == [bos] else range(0)
    if tokenizer.pad_token_id is None:
        raise UnsupportedModelError(f"{name}: its tokenizer has no padding token; set tokenizer.pad_token")
    return Frame(
        before=tuple(ids[: inside.start]),
        after=tuple(ids[inside.stop :]),
        padding=tokenizer.pad_token_id,
        padding_side=tokenizer.padding_side,
    )


def trimmed_range(text: str, start: int, end: int) -> tuple[int, int]:
    """The range without whitespace at its ends; as it is where it holds nothing else."""
    inner = text[start:end]
    if not inner.strip():
        return start, end
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())


def _with_marks(text: str, raw: list[RawToken]) -> list[RawToken]:
    """Let each token hold the marks behind it that no token holds.

    A tokenizer that composes characters (NFC) reports only the base letter for a letter and its combining accent.
    """
    extended: list[RawToken] = []
    following = limit = len(text)
    for token in reversed(raw):
        if token.start < following:  # several tokens of one character share its range, and its marks
            following, limit = token.start, following
        end = token.end
        while end < limit and kind_of(text[end]) == "mark":
            end += 1
        extended.append(RawToken(token.id, token.start, end))
    return extended[::-1]


def _with_vectors(tokenizer: Tokenizer, raw: list[RawToken]) -> list[RawToken]:
    """Put the further vectors of a textual inversion behind its first, as diffusers' `maybe_convert_prompt` does.

    An embedding of several vectors is stored as the added tokens `<name>`, `<name>_1`, `<name>_2` ...
    """
    added: dict[str, int] = getattr(tokenizer, "added_tokens_encoder", {})
    if not any(name.endswith("_1") for name in added):
        return raw
    names = {identity: name for name, identity in added.items()}
    expanded: list[RawToken] = []
    for token in raw:
        expanded.append(token)
        further = 1
        while (identity := added.get(f"{names.get(token.id)}_{further}")) is not None:
            expanded.append(RawToken(identity, token.start, token.end))
            further += 1
    return expanded


def display(tokenizer: Tokenizer, token: RawToken, text: str) -> str:
    """The token as a reader would write it.

    It is decoded; where it is only some bytes of a character, that character; where it decodes to nothing, as the
    vocabulary spells it. Invisible characters alone are escaped.
    """
    decoded = str(tokenizer.decode([token.id])).strip()
    if "\ufffd" in decoded:
        decoded = text[token.start : token.end]
    shown = decoded or str(tokenizer.convert_ids_to_tokens(token.id))
    return shown if any(c.isprintable() for c in shown) else shown.encode("unicode_escape").decode()
