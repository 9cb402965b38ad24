"""Pipelines that read prompts in lower case: tokens of the lowered text, placed in the text as it was written."""

from collections.abc import Sequence
from typing import Any

from promptattn.errors import UnsupportedModelError
from promptattn.prompt.tokens import Frame, RawToken, Tokenizer, encode

__all__ = ["encode_lowered", "lowered", "placed_in", "reads_lower_case"]


def reads_lower_case(pipe: Any, text: str) -> bool:
    """Whether the pipeline lowers this text and strips it before it is tokenised (PixArt does).

    The further cleaning of such pipelines (`clean_caption`) is left out: it rewrites the text, and no character of the
    result could be told from which of the prompt it came.

    Raises `UnsupportedModelError` for a pipeline that makes something else of the text.
    """
    prepare = getattr(pipe, "_text_preprocessing", None)
    if prepare is None:
        return False
    (prepared,) = prepare([text], clean_caption=False)
    if prepared == text.lower().strip():
        return True
    if prepared == text:
        return False
    raise UnsupportedModelError(
        f"{type(pipe).__name__} rewrites {text!r:.40} to {prepared!r:.40} before it is read, so promptattn cannot tell"
        " which of its tokens are which words."
    )


def encode_lowered(tokenizer: Tokenizer, text: str, name: str) -> tuple[list[RawToken], Frame]:
    """As `encode`, of the text in lower case and stripped; the characters of each token are those of `text`."""
    read, origin = lowered(text)
    raw, frame = encode(tokenizer, read, name)
    return [placed_in(token, origin, len(text)) for token in raw], frame


def lowered(text: str) -> tuple[str, list[int]]:
    """The text in lower case and stripped, and for each of its characters the one of `text` that it was made of.

    One letter may become two: the capital dotted I of Turkish does.
    """
    origin = [index for index, letter in enumerate(text) for _ in letter.lower()]
    lower = text.lower()
    first = len(lower) - len(lower.lstrip())
    stripped = lower.strip()
    return stripped, origin[first : first + len(stripped)]


def placed_in(token: RawToken, origin: Sequence[int], end: int) -> RawToken:
    """The token with its characters in a text of length `end`, given for each character of what was read the one of the
    text that it was made of."""
    start = origin[token.start] if token.start < len(origin) else end
    return RawToken(token.id, start, origin[token.end - 1] + 1 if token.end > token.start else start)
