"""What is seen of a prompt while it is typed: its weights, its tokens and windows, what is wrong with it."""

import gradio as gr

from promptattn.app.bounds import MOST_STEPS, bounded
from promptattn.app.boxes import Written
from promptattn.app.controls import Controls
from promptattn.app.counting import counted
from promptattn.app.highlighting import highlighted, unreadable
from promptattn.app.messages import problem, said
from promptattn.app.offered import TOKENIZING, suited, tokenizers
from promptattn.app.readings import readings
from promptattn.app.runs import MOST_SWEPT
from promptattn.errors import PromptAttnError
from promptattn.prompt import parse
from promptattn.sweeps.points import design

__all__ = ["show_while_typed"]

_USUAL_STEPS = 30


def show_while_typed(page: gr.Blocks, written: Written, controls: Controls, *, is_template: bool = False) -> None:
    """Keep below a box the same text shaded by weight, and a line of tokens for each text encoder.

    Args:
        page: on whose opening the text is shown first.
        is_template: whether braces hold sweeps; then its first prompt is the one that is shown.
    """
    also = [controls.model, controls.syntax, controls.steps, *([controls.negative] if is_template else [])]
    gr.on(
        [page.load, *(each.change for each in (written.box, *also))],
        _template_seen if is_template else _seen,
        [written.box, *also],
        written.seen,
        queue=False,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )


def _template_seen(text: str, model: str, syntax: str, steps: float | None, negative: str) -> str:
    try:
        points = design(text or "", negative or None, images=1, limit=MOST_SWEPT).points
    except PromptAttnError as error:
        return problem(str(error)) if text else ""
    return said(f"{len(points)} images, the first of which is:") + _seen(points[0].prompt, model, syntax, steps)


def _seen(text: str, model: str, syntax: str, steps: float | None) -> str:
    if not text:
        return ""
    try:
        prompt = parse(bounded(text), syntax=syntax)
    except PromptAttnError as error:
        return unreadable(text, str(error))
    try:
        with TOKENIZING:
            found = readings(tokenizers(model), prompt, _steps(steps, model))
    except PromptAttnError as error:
        return highlighted(prompt, syntax) + problem(str(error))
    return highlighted(prompt, syntax, found) + counted(found)


def _steps(wanted: float | None, model: str) -> int:
    """How many steps a prompt that changes is read for, while what is typed for them may be no number of steps."""
    usual = suited(model).steps or _USUAL_STEPS
    return int(wanted) if wanted is not None and 1 <= wanted <= MOST_STEPS else usual
