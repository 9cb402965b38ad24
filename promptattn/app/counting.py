"""How many tokens a prompt takes in each text encoder, and where its windows end, as HTML."""

from html import escape
from typing import Any

from promptattn.errors import PromptAttnError
from promptattn.prompt import EncoderPlan, Prompt, parse, plan

__all__ = ["counted"]


def counted(pipe: Any, source: str, syntax: str = "a1111", steps: int = 20) -> str:
    """A line for each text encoder: tokens used and free, a bar of its windows, and what is cut off.

    A prompt that changes from step to step is counted as it is at its longest. What cannot be counted comes with the
    reason.

    Args:
        steps: how many a run is to have, for prompts that change.
    """
    try:
        plans = [plan(pipe, text).encoders for text in _texts(parse(source, syntax=syntax), steps)]
    except PromptAttnError as error:
        return f'<p class="pa-notes">{escape(str(error))}</p>'
    longest = [max(readings, key=lambda each: len(each.tokens)) for readings in zip(*plans, strict=True)]
    return "".join(_line(each) for each in longest)


def _texts(prompt: Prompt, steps: int) -> list[Prompt]:
    """Every plain text that the prompt is at some step."""
    moments = [each for _, each in prompt.timeline(steps)] if prompt.is_scheduled else [prompt]
    parts = [part.prompt for moment in moments for part in moment.parts]
    return [part for part in parts if part.is_plain] or [Prompt()]


def _line(encoder: EncoderPlan) -> str:
    frame = len(encoder.frame.before) + len(encoder.frame.after)
    room = max(1, encoder.window - frame)
    used = [len(chunk.tokens) for chunk in encoder.chunks]
    bars = "".join(
        f'<span class="pa-window" title="window {number}: {tokens} of {room} tokens">'
        f'<span class="pa-used" style="width:{100 * min(tokens, room) / room:.1f}%"></span></span>'
        for number, tokens in enumerate(used, start=1)
    )
    windows = f" in {len(used)} windows" if len(used) > 1 else ""
    said = f"{sum(used)} of {room * len(used)} tokens{windows}"
    cut = ", ".join(word.text for word in encoder.cut)
    lost = f' <span class="pa-finding">cut off: {escape(cut)}</span>' if cut else ""
    return (
        f'<div class="pa-count"><span class="pa-encoder">{escape(encoder.name)}</span>{bars}'
        f"<span>{said}</span>{lost}</div>"
    )
