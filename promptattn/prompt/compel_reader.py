"""Reading one text in compel syntax into runs of characters with weights.

After the grammar of compel 2.x (`prompt_parser.py`), which tries one rule after the other; this reader decides by the
character at hand, tries no bracket twice in vain, and keeps its own stack, so it is linear and nesting costs nothing.
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal

from promptattn.errors import PromptSyntaxError
from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.source import taken_out
from promptattn.prompt.syntax import DECIMAL, Bracket, Close, Open, Text, factor

__all__ = ["BLANK", "NUMBER", "Reader", "Run", "skip_blanks"]

BLANK = " \t\n\r\x0b\x0c"  # what parts words; other kinds of space are characters of a word
_SYMBOLS = r"()\",.+\-="
_SPACES = re.compile(rf"[{BLANK}]*")
_FREE = re.compile(rf"[^{BLANK}]+")
_WORD = re.compile(rf"(?:\\[{_SYMBOLS}]|[-+](?![{BLANK}{_SYMBOLS}]|\Z)|[^{BLANK}{_SYMBOLS}])+")
_QUOTED = re.compile(r'"(?:\\"|[^"\n\r])*"')
NUMBER = re.compile(r"[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+")
_SIGNS = re.compile(r"\++|-+")
_ATTEND = re.compile(rf"[{BLANK}]*\.attend[{BLANK}]*\([{BLANK}]*(?P<by>\++|-+|{NUMBER.pattern})[{BLANK}]*\)", re.ASCII)
_SWAP = re.compile(rf"[{BLANK}]*\.swap[{BLANK}]*\(")
_LORA = re.compile(
    rf"(?:use|with)Lora[{BLANK}]*\([{BLANK}]*[A-Za-z0-9_-]+[{BLANK}]*(?:,[{BLANK}]*-?(?:{NUMBER.pattern})[{BLANK}]*)?\)"
)
_BRACKET = re.compile(r"(?<!\\)[()]")


@dataclass(frozen=True, slots=True)
class Run:
    """The characters `[start, end)` of the text, under a weight."""

    start: int
    end: int
    weight: Decimal


@dataclass(frozen=True, slots=True)
class _Frame:
    """A bracket or quotation that is open: where the text inside it must end, and where that round it does."""

    bracket: Bracket
    limit: int
    outside: int


@dataclass(slots=True)
class Reader:
    """Reads parts of `text`; `diagnostics` grow meanwhile.

    Raises `PromptSyntaxError` for `.swap()`.
    """

    text: str
    diagnostics: list[Diagnostic] = field(default_factory=list)
    _events: list[Open | Close | Text] = field(default_factory=list)
    _failed: set[tuple[int, int]] = field(default_factory=set)

    def prompt(self, start: int, limit: int) -> list[Run]:
        """The runs of a whole prompt: whatever is no syntax is text."""
        place = skip_blanks(self.text, start, limit)
        while place < limit:
            place = skip_blanks(self.text, self._item(place, limit), limit)
        return self._runs()

    def target(self, start: int, limit: int) -> tuple[list[Run], int] | None:
        """What an operator may act on: a quotation, a bracket or a word; its runs and its end."""
        if self.text[start] in '("':
            end = self._group(start, limit, alone=True)
            if end >= 0:
                return self._runs(), end
            quoted = _QUOTED.match(self.text, start, limit)
            return (self.prompt(start + 1, quoted.end() - 1), quoted.end()) if quoted else None
        word = _WORD.match(self.text, start, limit)
        if word is None:
            return None
        self._events.append(Text(*word.span()))
        return self._runs(), word.end()

    def _item(self, place: int, limit: int) -> int:
        """Read what stands at `place` of a prompt; returns its end."""
        if self.text[place] in '("':
            end = self._group(place, limit)
            if end >= 0:
                return end
        end = self._lora(place, limit)
        if end >= 0:
            return end
        word = _WORD.match(self.text, place, limit)
        if word is not None:
            end = self._weigh_word(word, limit)
            if end > word.end():
                return end
            del self._events[-3:]
        free = _FREE.match(self.text, place, limit)
        assert free is not None
        self._events.append(Text(*free.span()))
        if _BRACKET.search(self.text, *free.span()):
            message = "a bracket inside a word, or one that cannot be read to its end, is text; write \\( or \\) for it"
            self.diagnostics.append(Diagnostic("literal-bracket", message, *free.span()))
        return free.end()

    def _group(self, start: int, limit: int, alone: bool = False) -> int:
        """Read the bracket or quotation at `start` with its weight (`alone`: without); returns its end, -1 if none."""
        mark = len(self._events)
        frames: list[_Frame] = []
        place = start
        while True:
            end = frames[-1].limit if frames else limit
            place = skip_blanks(self.text, place, end) if frames else place
            if frames and self._closes(frames[-1], place):
                frame = frames.pop()
                place += 1
                if frames or not alone:
                    place = self._weigh(frame.bracket, place, frame.outside, is_word=False)
                self._events.append(Close(frame.bracket))
                if not frames:
                    return place
            elif opened := self._open(place, end):
                frames.append(opened)
                self._events.append(Open(opened.bracket))
                place += 1
            elif not frames or (after := self._inside(place, end)) < 0:
                self._failed.update((frame.bracket.start, frame.outside) for frame in frames)
                self._failed.add((place, end))
                del self._events[mark:]
                return -1
            else:
                place = after

    def _open(self, place: int, end: int) -> _Frame | None:
        if place >= end or self.text[place] not in '("' or (place, end) in self._failed:
            return None
        bracket = Bracket(self.text[place], place)
        if bracket.kind == "(":
            return _Frame(bracket, end, end)
        quoted = _QUOTED.match(self.text, place, end)
        return _Frame(bracket, quoted.end() - 1, end) if quoted else None

    def _closes(self, frame: _Frame, place: int) -> bool:
        if frame.bracket.kind == "(":
            return place < frame.limit and self.text[place] == ")"
        return place == frame.limit

    def _inside(self, place: int, end: int) -> int:
        """Read a word, a comma or a point inside a bracket; returns its end, -1 where there is none."""
        if place >= end:
            return -1
        after = self._lora(place, end)
        if after >= 0:
            return after
        word = _WORD.match(self.text, place, end)
        if word is not None:
            return self._weigh_word(word, end)
        if self.text[place] not in ",.":
            return -1
        self._events.append(Text(place, place + 1))
        return place + 1

    def _weigh_word(self, word: re.Match[str], limit: int) -> int:
        bracket = Bracket("word", word.start())
        self._events += [Open(bracket), Text(*word.span())]
        end = self._weigh(bracket, word.end(), limit, is_word=True)
        self._events.append(Close(bracket))
        return end

    def _weigh(self, bracket: Bracket, place: int, limit: int, is_word: bool) -> int:
        """Read the weight behind a bracket, quotation or word into `bracket`; returns its end, `place` without one."""
        attend = _ATTEND.match(self.text, place, limit)
        written = attend or _SIGNS.match(self.text, place, limit)
        if written is None and not is_word:
            written = NUMBER.match(self.text, place, limit)
        if written is None:
            swap = _SWAP.match(self.text, place, limit)
            if swap is not None:
                raise PromptSyntaxError(
                    f".swap() at position {swap.start()} edits one image into another while it is made, which is no "
                    "weighting; write the prompt of the image that you want"
                )
            return place
        weight = _weight(attend["by"] if attend else written[0])
        if weight is None:
            message = "this number is too large for a weight; it is read as text"
            self.diagnostics.append(Diagnostic("bad-number", message, *written.span()))
            return place
        bracket.factor = weight
        return written.end()

    def _lora(self, place: int, limit: int) -> int:
        lora = _LORA.match(self.text, place, limit)
        if lora is None:
            return -1
        self.diagnostics.append(taken_out(lora))
        return lora.end()

    def _runs(self) -> list[Run]:
        """The texts read since the last call, with their weights."""
        products = [Decimal(1)]
        runs: list[Run] = []
        for event in self._events:
            if isinstance(event, Open):
                products.append(DECIMAL.multiply(products[-1], event.bracket.factor))
            elif isinstance(event, Close):
                products.pop()
            else:
                runs.append(Run(event.start, event.end, products[-1]))
        self._events.clear()
        return runs


def skip_blanks(text: str, place: int, limit: int) -> int:
    """Where the blanks at `place` end, at `limit` at most."""
    spaces = _SPACES.match(text, place, limit)
    return spaces.end() if spaces else place


def _weight(written: str) -> Decimal | None:
    """The weight that `++`, `--` or a number says; None for a number too large."""
    if written[0] in "+-":
        return DECIMAL.power(Decimal("1.1") if written[0] == "+" else Decimal("0.9"), len(written))
    return factor(written)
