"""A box to write a prompt in, with buttons that weigh its words, and room for what is seen of it."""

from dataclasses import dataclass

import gradio as gr

from promptattn.app.bounds import MOST_TEXT

__all__ = ["Written", "prompt_box"]

_WEIGHING = "the selected words, or the word at the cursor"
_BUTTONS = f"""
<div class="pa-nudge" role="group" aria-label="Weight of {_WEIGHING}">
<button type="button" data-steps="-1" aria-label="Less weight" title="Less weight on {_WEIGHING} (Ctrl+↓)">−</button>
<button type="button" data-steps="1" aria-label="More weight" title="More weight on {_WEIGHING} (Ctrl+↑)">+</button>
</div>
"""


@dataclass(frozen=True)
class Written:
    """A box, and below it what is shown of its text."""

    box: gr.Textbox
    seen: gr.HTML


def prompt_box(label: str, value: str, name: str, *, placeholder: str, lines: int = 3) -> Written:
    """Lay the box out.

    Args:
        name: of the box, for its `elem_id`.
    """
    with gr.Group(elem_classes="pa-writing"):
        gr.HTML(_BUTTONS, elem_classes="pa-nudging", apply_default_css=False)
        box = gr.Textbox(
            value,
            label=label,
            lines=lines,
            max_lines=12,
            max_length=MOST_TEXT,
            elem_id=f"pa-{name}",
            elem_classes="pa-prompt",
            placeholder=placeholder,
            html_attributes=gr.InputHTMLAttributes(spellcheck=False),
        )
        seen = gr.HTML(elem_id=f"pa-{name}-seen", elem_classes="pa-seen", apply_default_css=False)
    return Written(box, seen)
