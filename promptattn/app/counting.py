"""How many tokens a prompt takes in each text encoder, and how they fill its windows, as HTML."""

from collections.abc import Sequence
from html import escape

from promptattn.app.messages import shown_as_text
from promptattn.app.readings import Reading

__all__ = ["counted"]

_NAMED = 4  # of the words that are cut off
_DRAWN = 12  # windows: more are no picture any more


def counted(readings: Sequence[Reading]) -> str:
    """A line for each text encoder: a bar of each window, tokens used, and what is cut off."""
    return "".join(_line(each) for each in readings)


def _line(reading: Reading) -> str:
    used, room = reading.used, reading.room
    bars = "".join(
        f'<span class="pa-window" title="window {number}: {tokens} of {room} tokens" aria-hidden="true">'
        f'<span class="pa-used" style="width:{100 * min(tokens, room) / room:.1f}%"></span></span>'
        for number, tokens in enumerate(used if len(used) <= _DRAWN else (), start=1)
    )
    windows = f" in {len(used)} windows" if len(used) > 1 else ""
    said = f"{sum(used)} of {room * len(used)} tokens{windows}"
    lost = f' <span class="pa-lost">{shown_as_text(_cut(reading.cut))}</span>' if reading.cut else ""
    return (
        f'<div class="pa-count"><span class="pa-encoder">{escape(reading.encoder)}</span>{bars}'
        f"<span>{said}</span>{lost}</div>"
    )


def _cut(words: Sequence[str]) -> str:
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return f"cut off: {', '.join(words[:_NAMED])}{more}"
