"""From what a user writes (`"cat"`, `"red cat"`, `"a", 1`) to words of the prompt; a miss says what there is."""

import difflib
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptattn.errors import CaptureError

if TYPE_CHECKING:
    from promptattn.prompt import Word

__all__ = ["find_words"]

_LISTED = 40  # words named in an error message before it is cut short


def find_words(words: Sequence["Word"], phrase: str, occurrence: int = 0) -> tuple["Word", ...]:
    """The consecutive words that make up `phrase`, at its `occurrence` (counted from 0; negative counts from the end).

    Case and Unicode composition do not matter. Raises `CaptureError` with the words there are and the nearest one.
    """
    wanted = [_fold(part) for part in phrase.split()]
    texts = [_fold(word.text) for word in words]
    if not wanted:
        raise CaptureError(f"Ask for a word of the prompt; {phrase!r} holds none. {_inventory(words)}")
    length = len(wanted)
    starts = [i for i in range(len(texts) - length + 1) if texts[i : i + length] == wanted]
    if not starts:
        raise CaptureError(f"{phrase!r} is not in the prompt.{_nearest(words, wanted, texts)} {_inventory(words)}")
    if not -len(starts) <= occurrence < len(starts):
        times = "once" if len(starts) == 1 else f"{len(starts)} times"
        raise CaptureError(
            f"{phrase!r} is in the prompt {times}, so there is no occurrence {occurrence}: they count from 0."
        )
    start = starts[occurrence]
    return tuple(words[start : start + length])


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _nearest(words: Sequence["Word"], wanted: list[str], texts: list[str]) -> str:
    for part in wanted:
        if part in texts:
            continue
        close = difflib.get_close_matches(part, texts, n=1, cutoff=0.5)
        if close:
            return f" Did you mean {words[texts.index(close[0])].text!r}?"
    return " Its words are there, but not side by side." if all(part in texts for part in wanted) else ""


def _inventory(words: Sequence["Word"]) -> str:
    if not words:
        return "The prompt has no words."
    listed = ", ".join(dict.fromkeys(word.text for word in words[:_LISTED]))
    return f"Its words are: {listed}{' ...' if len(words) > _LISTED else ''}."
