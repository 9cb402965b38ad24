"""A box for a prompt, with what is seen of it while it is typed: its weights, its tokens, what is wrong with it."""

import gradio as gr

from promptattn.app.controls import Controls
from promptattn.app.counting import counted
from promptattn.app.highlighting import highlighted
from promptattn.app.messages import problem, said
from promptattn.app.offered import TOKENIZING, suited, tokenizers
from promptattn.app.runs import MOST_SWEPT
from promptattn.errors import PromptAttnError
from promptattn.sweeps.points import design

__all__ = ["MOST_TEXT", "prompt_box"]

MOST_TEXT = 10_000
"""Characters of one prompt."""

_USUAL_STEPS = 30


def prompt_box(
    page: gr.Blocks, controls: Controls, label: str, value: str, name: str, *, is_template: bool = False
) -> gr.Textbox:
    """The box, and below it the same text shaded by weight, and a bar of tokens for each text encoder.

    Args:
        page: on whose opening the text is shown first.
        name: of the box, for its `elem_id`.
        is_template: whether braces hold sweeps; then its first prompt is the one that is shown.
    """
    with gr.Group(elem_classes="pa-writing"):
        box = gr.Textbox(
            value,
            label=label,
            lines=3,
            max_lines=12,
            max_length=MOST_TEXT,
            elem_id=f"pa-{name}",
            elem_classes="pa-prompt",
            placeholder="a (red:1.4) cat left of a [blue] star",
            html_attributes=gr.InputHTMLAttributes(spellcheck=False),
        )
        seen = gr.HTML(elem_id=f"pa-{name}-seen", elem_classes="pa-seen", apply_default_css=False)
    also = [controls.model, controls.syntax, controls.steps, *([controls.negative] if is_template else [])]
    gr.on(
        [page.load, *(each.change for each in (box, *also))],
        _template_seen if is_template else _seen,
        [box, *also],
        seen,
        queue=False,
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
    return box


def _template_seen(text: str, model: str, syntax: str, steps: int | None, negative: str) -> str:
    try:
        points = design(text or "", negative or None, images=1, limit=MOST_SWEPT).points
    except PromptAttnError as error:
        return problem(str(error)) if text else ""
    return said(f"{len(points)} images, the first of which is:") + _seen(points[0].prompt, model, syntax, steps)


def _seen(text: str, model: str, syntax: str, steps: int | None) -> str:
    if not text:
        return ""
    if len(text) > MOST_TEXT:
        return problem(f"The prompt has {len(text)} characters; {MOST_TEXT} are read at most.")
    shaded = highlighted(text, syntax)
    try:
        with TOKENIZING:
            count = counted(tokenizers(model), text, syntax, int(steps or suited(model).steps or _USUAL_STEPS))
    except PromptAttnError as error:
        count = problem(str(error))
    return shaded + count
