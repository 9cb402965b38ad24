"""Tokenizers written in Python round a SentencePiece model, such as ChatGLM's: the characters of each of their tokens.

They are asked for ids, and the model, which alone knows what it made of which characters, for the pieces of the same
text. What both agree on is taken.
"""

from typing import Any

from promptattn.errors import UnsupportedModelError
from promptattn.prompt.tokenising import index_of

__all__ = ["model_of", "pieces"]

Piece = tuple[int, int, int]
"""An id, and the characters `start:end` that it stands for."""


def model_of(tokenizer: Any) -> Any:
    """The SentencePiece model that a tokenizer is written round, or None."""
    inner = getattr(tokenizer, "tokenizer", None)
    return getattr(tokenizer, "sp_model", None) or getattr(inner, "sp_model", None)


def pieces(tokenizer: Any, text: str, name: str) -> tuple[list[int], list[Piece], int]:
    """All the ids of a text, its pieces, and the place of the first of these among the ids.

    Raises:
        UnsupportedModelError: where the ids are not those of the model's pieces with something round them, as where
            the tokenizer cuts the text first, at tokens that were added to it.
    """
    ids = list(tokenizer(text)["input_ids"])
    found = _shared(_asked(model_of(tokenizer), text, name))
    first = index_of([piece for piece, _, _ in found], ids)
    if first is None:
        raise UnsupportedModelError(
            f"{name}: {type(tokenizer).__name__} makes other tokens of {text!r:.40} than its SentencePiece model does,"
            " so it cannot be told which characters they stand for; leave tokens that were added to it out of the"
            " prompt."
        )
    return ids, found, first


def _asked(model: Any, text: str, name: str) -> list[Piece]:
    try:
        made = model.encode(text, out_type="offset_mapping")
        return [(piece, *place) for piece, place in zip(made["ids"], made["offsets"], strict=True)]
    except (RuntimeError, ValueError):
        pass  # sentencepiece before 0.2.2 has it by another name
    try:
        return [(each.id, each.begin, each.end) for each in model.encode(text, out_type="immutable_proto").pieces]
    except (RuntimeError, ValueError) as error:
        raise UnsupportedModelError(
            f"{name}: this version of sentencepiece does not tell which characters a piece stands for; update it"
            " (pip install -U sentencepiece)."
        ) from error


def _shared(found: list[Piece]) -> list[Piece]:
    """Where one character became several pieces, as one that the vocabulary has not becomes its bytes, all of it is
    said to be the last one's: let the others have it too, and the mark before the first word that word."""
    shared: list[Piece] = []
    following: tuple[int, int] | None = None
    for piece, start, end in reversed(found):
        if start == end and following is not None and following[0] == start:
            shared.append((piece, *following))
            continue
        following = (start, end)
        shared.append((piece, start, end))
    return shared[::-1]
