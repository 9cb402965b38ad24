"""The words of a clean text, and how to look one up.

A word is a run of letters, digits and marks of any script, with apostrophes, hyphens and middle dots inside it
(`don't`, `x-ray`, `col·lecció`) and points inside numbers (`1.5`). One kana or Han character is a word, since those
scripts put no spaces; so is one emoji, with its joiners and modifiers. A run of punctuation is an entry of its own,
flagged `is_punctuation`, so that every token of visible text belongs to an entry. Underscores are punctuation:
`long_hair` is found as the phrase it is.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from promptattn.errors import CaptureError
from promptattn.prompt.letters import is_unspaced, kind_of

__all__ = ["Word", "find", "fold", "occurrences", "split_words"]

_INSIDE_WORDS = frozenset("'’-‐‑·")
_LISTED = 60  # words shown in the message of a miss


@dataclass(frozen=True, slots=True)
class Word:
    """An entry of the clean text: `text`, its range there, and the tokens it became.

    `occurrence` counts equal words from 0, ignoring case. `tokens` are indices into the tokens of the encoder's plan;
    a word that does not fit into the encoder has fewer, or none. `weight` is that of the span that holds most of the
    word's characters.
    """

    index: int
    text: str
    start: int
    end: int
    occurrence: int
    tokens: tuple[int, ...]
    weight: float
    is_punctuation: bool = False


def split_words(text: str) -> Iterator[tuple[int, int, bool]]:
    """The words of `text` as `(start, end, is_punctuation)`, in order and without overlap."""
    start = 0
    while start < len(text):
        kind = kind_of(text[start])
        end = start + 1
        if kind == "space" or kind == "joiner":
            start = end
            continue
        if kind == "punctuation":
            while end < len(text) and kind_of(text[end]) in ("punctuation", "mark"):
                end += 1
        elif kind in ("symbol", "modifier"):
            end = _end_of_symbol(text, end)
        elif is_unspaced(text[start]):
            end = _end_of_marks(text, end)
        else:
            end = _end_of_letters(text, end)
        yield start, end, kind == "punctuation"
        start = end


def _end_of_marks(text: str, end: int) -> int:
    while end < len(text) and kind_of(text[end]) in ("mark", "joiner", "modifier"):
        end += 1
    return end


def _end_of_symbol(text: str, end: int) -> int:
    """The end of an emoji that began before `end`: its modifiers, what a joiner ties on, a flag's second letter."""
    flag = _is_flag_letter(text[end - 1])
    while end < len(text):
        tied = text[end - 1] == "\u200d" and kind_of(text[end]) in ("symbol", "punctuation")
        if flag and _is_flag_letter(text[end]):
            flag, end = False, end + 1
        elif tied or kind_of(text[end]) in ("mark", "joiner", "modifier"):
            end += 1
        else:
            break
    return end


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _end_of_letters(text: str, end: int) -> int:
    while end < len(text):
        kind = kind_of(text[end])
        if kind in ("mark", "joiner", "modifier") or (kind == "letter" and not is_unspaced(text[end])):
            end += 1
        elif _is_inside(text, end):
            end += 2
        else:
            break
    return end


def _is_inside(text: str, position: int) -> bool:
    """Whether the character there is an apostrophe, hyphen or point with a word going on after it."""
    if position + 1 >= len(text) or kind_of(text[position + 1]) != "letter" or is_unspaced(text[position + 1]):
        return False
    if text[position] == ".":
        return text[position - 1].isdigit() and text[position + 1].isdigit()
    return text[position] in _INSIDE_WORDS


def fold(text: str) -> str:
    """`text` as it is compared: composed (NFC) and without case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def occurrences(texts: Iterable[str]) -> Iterator[int]:
    """Of each word how many equal ones, ignoring case, stand before it."""
    seen: Counter[str] = Counter()
    for text in texts:
        key = fold(text)
        yield seen[key]
        seen[key] += 1


def find(words: Sequence[Word], phrase: str, occurrence: int = 0) -> tuple[Word, ...]:
    """The words that make up the given occurrence (from 0) of a word or of a phrase of consecutive words.

    Case does not count; punctuation inside a phrase does. Raises `CaptureError` where there is no such occurrence;
    the message lists the words there are.
    """
    wanted = [fold(phrase[start:end]) for start, end, _ in split_words(phrase)]
    if not wanted:
        raise CaptureError(f"{phrase!r} holds no word to look for; {_listing(words)}")
    folded = [fold(word.text) for word in words]
    size = len(wanted)
    places = [at for at in range(len(words) - size + 1) if folded[at : at + size] == wanted]
    if 0 <= occurrence < len(places):
        return tuple(words[places[occurrence] : places[occurrence] + size])
    if places:
        times = "once" if len(places) == 1 else f"{len(places)} times"
        raise CaptureError(
            f"{phrase!r} stands {times} in this prompt; occurrences count from 0, so {occurrence} is none of them"
        )
    raise CaptureError(f"there is no {phrase!r} in this prompt{_nearest(wanted, words)}; {_listing(words)}")


def _nearest(wanted: list[str], words: Sequence[Word]) -> str:
    known = {fold(word.text): word.text for word in words if not word.is_punctuation}
    close = [known[match] for word in wanted if word not in known for match in get_close_matches(word, known, 1)]
    return f" (did you mean {' '.join(close)!r}?)" if close else ""


def _listing(words: Sequence[Word]) -> str:
    distinct = list(dict.fromkeys(word.text for word in words if not word.is_punctuation))
    if not distinct:
        return "the prompt has no words"
    more = f" and {len(distinct) - _LISTED} more" if len(distinct) > _LISTED else ""
    return f"its words are: {', '.join(distinct[:_LISTED])}{more}"
