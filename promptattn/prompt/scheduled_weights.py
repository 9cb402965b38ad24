"""Weights that change from step to step: `(cat:[1.1:1.4:0.5])`.

The number of a round bracket may be a schedule or an alternation. The bracket is then turned inside out: a switch
between brackets, `[(cat:1.1):(cat:1.4):0.5]`, which is what A1111 reads once it has chosen. A branch that is no number
leaves a plain bracket with the branch as text in it, again as if it had been written there alone.

Each such weight copies what its bracket holds, so nesting them doubles it every time. The copies are bounded; beyond,
the weight is text and reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from promptattn.prompt.canonical import MAX_NESTING
from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.switches import Switch
from promptattn.prompt.syntax import NUMBER, Begin, Bracket, Close, End, Event, Next, Open, Text, factor, plain_factor

__all__ = ["spread_weights"]

_SHORT = 512  # events
_MANY = "scheduled weights inside one another multiply out to too much; this one is read as text"


@dataclass(slots=True)
class _Frame:
    """A bracket or switch that is open: its first event in what is written and in what is made of it (`start`), its
    last colon, the switch behind that, and how many switches stand inside one another in it."""

    of: Bracket | Switch
    written: int
    start: int
    colon: int = -1
    switch: range | None = None
    nesting: int = 0


def spread_weights(text: str, events: Sequence[Event], pairs: dict[int, int]) -> tuple[list[Event], list[Diagnostic]]:
    """`events` with every scheduled weight turned inside out, and the findings. `pairs` are brackets that do not cross.

    What is made of a bracket is at most twice as long as what is written, but for short ones.
    """
    out: list[Event] = []
    found: list[Diagnostic] = []
    frames: list[_Frame] = []
    around = 0  # switches that are open
    for index, event in enumerate(events):
        out.append(event)
        match event:
            case Open(bracket):
                frames.append(_Frame(bracket, index, len(out) - 1))
            case Begin(switch):
                frames.append(_Frame(switch, index, len(out) - 1))
                around += 1
            case Text(role="colon") if frames:
                frames[-1].colon, frames[-1].switch = len(out) - 1, None
            case End(switch):
                around -= 1
                frame = _pop(frames, switch)
                if frame is not None and frames:
                    frames[-1].switch = range(frame.start, len(out))
                    frames[-1].nesting = max(frames[-1].nesting, frame.nesting + 1)
            case Close(bracket):
                frame = _pop(frames, bracket)
                if frame is None:
                    continue
                nesting = frame.nesting
                if _is_scheduled(text, out, frame) and pairs.get(bracket.start) == bracket.end:
                    nesting *= 2  # at most: the switches of the number stand round those of the content
                    if around + nesting > MAX_NESTING or _size(out, frame) > max(_SHORT, 2 * (index - frame.written)):
                        found.append(Diagnostic("many-weights", _MANY, bracket.start, bracket.end))
                        nesting = frame.nesting
                    else:
                        out[frame.start :] = _turned(text, out, frame)
                if frames:
                    frames[-1].nesting = max(frames[-1].nesting, nesting)
    return out, found


def _pop(frames: list[_Frame], closed: Bracket | Switch) -> _Frame | None:
    if frames and frames[-1].of is closed:
        return frames.pop()
    frames.clear()  # brackets cross, and in those no weight is scheduled
    return None


def _is_scheduled(text: str, out: Sequence[Event], frame: _Frame) -> bool:
    """Whether there is a switch and nothing else between the colon of a plain round bracket and its end."""
    if not isinstance(frame.of, Bracket) or frame.of.kind != "(" or not frame.of.is_plain:
        return False
    if frame.colon < 0 or frame.switch is None:
        return False
    beside = (*out[frame.colon + 1 : frame.switch.start], *out[frame.switch.stop : len(out) - 1])
    return all(_is_blank(text, event) for event in beside)


def _size(out: Sequence[Event], frame: _Frame) -> int:
    """How many events at most the bracket becomes when it is turned inside out."""
    assert frame.switch is not None
    branches = sum(isinstance(out[index], Next | End) for index in frame.switch) + 1
    return branches * (frame.switch.start - frame.start + 3) + len(frame.switch)


@dataclass(frozen=True, slots=True)
class _Weighing:
    """A round bracket: what it holds, and the colon with what stands beside the switch behind it."""

    text: str
    bracket: Bracket
    content: Sequence[Event]
    colon: Sequence[Event]
    blanks: Sequence[Event]

    def around(self, switch: Sequence[Event]) -> list[Event]:
        """`switch` with the bracket, under the weight it says, in the place of each of its branches."""
        last = switch[-1]
        turned = [switch[0]]
        if isinstance(last, End) and last.of.kind == "schedule" and not last.of.separators:
            turned += [*self.under(()), Next(last.of)]  # [to:when]: at first there is no number
        start, depth = 1, 0
        for index, event in enumerate(switch):
            if isinstance(event, Begin):
                depth += 1
            elif isinstance(event, Next | End) and depth == 1:
                turned += self.under(switch[start:index])
                turned.append(event)
                start = index + 1
            if isinstance(event, End):
                depth -= 1
        return turned

    def under(self, branch: Sequence[Event]) -> list[Event]:
        """The bracket under the weight that one branch says."""
        visible = [e for e in branch if not _is_blank(self.text, e)]
        first, last = (visible[0], visible[-1]) if visible else (None, None)
        if isinstance(first, Begin) and isinstance(last, End) and first.of is last.of:
            return self.around(visible)
        bracket, value = self.bracket, None
        if all(isinstance(event, Text) for event in branch):
            written = "".join(self.text[e.start : e.end] for e in branch if isinstance(e, Text)).strip()
            value = factor(written) if NUMBER.fullmatch(written) else None
        if value is not None:
            weighed = Bracket("(", bracket.start, bracket.end, value, is_plain=False)
            return [Open(weighed), *self.content, Close(weighed)]
        plain = Bracket("(", bracket.start, bracket.end, plain_factor("("))
        return [Open(plain), *self.content, *self.colon, *branch, *self.blanks, Close(plain)]


def _turned(text: str, out: Sequence[Event], frame: _Frame) -> list[Event]:
    assert isinstance(frame.of, Bracket)
    assert frame.switch is not None
    weighing = _Weighing(
        text,
        frame.of,
        content=out[frame.start + 1 : frame.colon],
        colon=out[frame.colon : frame.switch.start],
        blanks=out[frame.switch.stop : len(out) - 1],
    )
    return weighing.around(out[frame.switch.start : frame.switch.stop])


def _is_blank(text: str, event: Event) -> bool:
    return isinstance(event, Text) and text[event.start : event.end].isspace()
