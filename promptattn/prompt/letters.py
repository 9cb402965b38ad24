"""What a character is to a prompt: part of a word, a symbol such as an emoji, punctuation, or none of them."""

import unicodedata
from typing import Literal

__all__ = ["CharacterKind", "is_letter", "is_unspaced", "join_to_one_word", "kind_of"]

CharacterKind = Literal["letter", "mark", "symbol", "modifier", "joiner", "punctuation", "space"]

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Scripts written without spaces in which one character is a unit that a user may point at: kana and Han.
_UNSPACED = (
    (0x3005, 0x3007),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3347F),
)


def kind_of(character: str) -> CharacterKind:
    """The kind of one character, from its Unicode category.

    `letter` is any letter or digit; `mark`, `modifier` (skin tones) and `joiner` (ZWJ, tags) belong to what stands
    before them; `space` is everything invisible that parts words. Code points unknown to this Python are symbols:
    they are most likely emoji younger than it.
    """
    if character.isspace() or character in _BIDI_CONTROLS:
        return "space"
    if "\U0001f3fb" <= character <= "\U0001f3ff":
        return "modifier"
    category = unicodedata.category(character)
    if category == "Cf":
        return "joiner"
    if category in ("So", "Cn", "Co"):
        return "symbol"
    kinds: dict[str, CharacterKind] = {"L": "letter", "N": "letter", "M": "mark", "C": "space"}
    return kinds.get(category[0], "punctuation")


def is_letter(character: str) -> bool:
    """Whether the character is part of a written word: a letter, a digit or a mark on one."""
    return kind_of(character) in ("letter", "mark")


def is_unspaced(character: str) -> bool:
    """Whether the character belongs to a script written without spaces between words (kana, Han)."""
    return any(low <= ord(character) <= high for low, high in _UNSPACED)


def join_to_one_word(left: str, right: str) -> bool:
    """Whether two characters side by side would be read as one word, in a script that parts words by spaces."""
    return is_letter(left) and is_letter(right) and not (is_unspaced(left) or is_unspaced(right))
