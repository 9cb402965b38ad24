"""The user's text before any syntax is read: network tags taken out, unencodable characters replaced."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.letters import join_to_one_word

__all__ = ["TAG_START", "CleanSource", "clean_characters", "clean_source", "taken_out", "unescaped"]

# A1111 takes these tags out before it reads brackets. A tag holds no further "<", so that the search stays linear.
TAG_START = r"<(?=(?i:lora|lyco|hypernet):)"
_TAG = re.compile(TAG_START + "[^<>]+>")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class CleanSource:
    """`text` without tags, and for each of its characters, and its end, the position in the text as written."""

    text: str
    origins: Sequence[int]
    diagnostics: tuple[Diagnostic, ...] = ()

    def piece(self, start: int, end: int) -> "CleanSource":
        """The part `[start, end)` of the text, its characters where they were; without the findings."""
        return CleanSource(self.text[start:end], self.origins[start : end + 1])

    def place(self, start: int, end: int) -> tuple[int, int]:
        """The range in the text as written of the non-empty range `[start, end)` of this one."""
        return self.origins[start], self.origins[end - 1] + 1

    def placed(self, found: Diagnostic) -> Diagnostic:
        """The same finding, its positions moved from this text to the text as written."""
        start, end = self.place(found.start, found.end)
        return replace(found, start=start, end=end)


def clean_characters(written: str) -> CleanSource:
    """`written` with U+FFFD in place of each half surrogate pair, which no tokenizer can encode."""
    diagnostics = tuple(
        Diagnostic(
            "broken-character", "half a surrogate pair is not a character and becomes U+FFFD", m.start(), m.end()
        )
        for m in _SURROGATE.finditer(written)
    )
    whole = _SURROGATE.sub("\ufffd", written) if diagnostics else written
    return CleanSource(whole, range(len(whole) + 1), diagnostics)


def clean_source(written: str) -> CleanSource:
    """`clean_characters`, and `<lora:name:0.8>` tags taken out."""
    clean = clean_characters(written)
    whole, diagnostics = clean.text, list(clean.diagnostics)
    tags = list(_TAG.finditer(whole))
    if not tags:
        return clean
    pieces: list[str] = []
    origins: list[int] = []
    position = 0
    for tag in tags:
        if position < tag.start():
            pieces.append(whole[position : tag.start()])
            origins.extend(range(position, tag.start()))
        position = tag.end()
        diagnostics.append(taken_out(tag))
        if pieces and position < len(whole) and join_to_one_word(pieces[-1][-1], whole[position]):
            message = "the words on both sides become one once the tag is taken out; add a space to part them"
            diagnostics.append(Diagnostic("glued-words", message, origins[-1], position + 1))
    pieces.append(whole[position:])
    origins.extend(range(position, len(whole) + 1))
    return CleanSource("".join(pieces), origins, tuple(diagnostics))


def taken_out(tag: re.Match[str]) -> Diagnostic:
    """What to say of a tag that names a network, and is no text."""
    message = f"{tag[0][:60]} is taken out of the text; load the network with the pipeline's own load_lora_weights"
    return Diagnostic("network-tag", message, *tag.span(), "info")


def unescaped(text: str, escape: re.Pattern[str], start: int, end: int) -> list[int]:
    """The places of the characters of `text[start:end]`, without the backslashes that `escape` finds."""
    escapes = {mark.start() for mark in escape.finditer(text, start, end)}
    return [place for place in range(start, end) if place not in escapes]
