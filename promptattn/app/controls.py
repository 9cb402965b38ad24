"""The settings beside the tabs, which all of them share, and the wish that their values make."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from promptattn.app.offered import OWN, TOKENIZING, samplers, suited
from promptattn.app.runs import Wish
from promptattn.errors import PromptAttnError
from promptattn.prompt.parsing import SYNTAXES
from promptattn.weighting import METHODS, PLACES

__all__ = ["Controls", "settings_column", "shown_wish", "wish_of"]

_LARGEST_SEED = 2**31 - 1  # of those that are drawn; any that fits into 53 bits, which JavaScript has, can be typed
_MOST_TEXT = 10_000  # characters


@dataclass(frozen=True)
class Controls:
    """The components, in the order of `Wish`."""

    model: gr.Dropdown
    negative: gr.Textbox
    sampler: gr.Dropdown
    seed: gr.Number
    steps: gr.Number
    guidance: gr.Number
    height: gr.Number
    width: gr.Number
    syntax: gr.Dropdown
    method: gr.Dropdown
    where: gr.Dropdown
    strength: gr.Textbox

    @property
    def all(self) -> list[Any]:
        """Every component, in the order that :func:`wish_of` takes their values in."""
        return list(vars(self).values())


def settings_column(models: Sequence[str]) -> Controls:
    """Lay the settings out; the first of the models is chosen."""
    first = suited(models[0])
    model = gr.Dropdown(list(models), value=models[0], label="Model", elem_id="pa-model")
    negative = gr.Textbox(
        label="Stay away from",
        placeholder="negative prompt, weighted likewise",
        lines=2,
        max_length=_MOST_TEXT,
        elem_classes="pa-prompt",
        elem_id="pa-negative",
    )
    sampler = gr.Dropdown(_samplers(models[0]), value=OWN, label="Sampler", elem_id="pa-sampler")
    with gr.Row(elem_classes="pa-tight"):
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=90, scale=3, elem_id="pa-seed")
        other = gr.Button("New seed", size="sm", scale=1, min_width=80, elem_id="pa-new-seed")
    with gr.Row(elem_classes="pa-tight"):
        steps = gr.Number(first.steps, label="Steps", precision=0, minimum=1, min_width=80, elem_id="pa-steps")
        guidance = gr.Number(first.guidance, label="Guidance", step=0.5, min_width=80, elem_id="pa-guidance")
    with gr.Accordion("More", open=False):
        with gr.Row(elem_classes="pa-tight"):
            width = gr.Number(first.width, label="Width", precision=0, minimum=1, min_width=80)
            height = gr.Number(first.height, label="Height", precision=0, minimum=1, min_width=80)
        syntax = gr.Dropdown(sorted(SYNTAXES), value="a1111", label="Written as", elem_id="pa-syntax")
        method = gr.Dropdown(list(METHODS), value=METHODS[0], label="What a weight does")
        where = gr.Dropdown(list(PLACES), value="auto", label="Where weights act")
        strength = gr.Textbox(label="Exponent on weights", placeholder='6, or "exact" for plain odds', max_length=20)
    controls = Controls(model, negative, sampler, seed, steps, guidance, height, width, syntax, method, where, strength)
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    other.click(lambda: random.randint(0, _LARGEST_SEED), outputs=seed, **quiet)
    # Of a person's choice only: what a dropped image says is not to be overwritten by what suits its model.
    model.input(_of_model, model, [sampler, steps, guidance, height, width], **quiet)
    return controls


def wish_of(values: Sequence[Any]) -> Wish:
    """The wish that the values of :attr:`Controls.all` make; an emptied box is what suits the model."""
    named = dict(zip(Controls.__dataclass_fields__, values, strict=True))
    named["seed"] = int(named["seed"] or 0)
    named["negative"] = (named["negative"] or "")[:_MOST_TEXT]
    named["strength"] = _strength(named["strength"])
    return Wish(**named)


def shown_wish(wish: Wish) -> list[Any]:
    """The values, or updates, with which :attr:`Controls.all` show a wish."""
    values = {**vars(wish), "strength": "" if wish.strength is None else str(wish.strength)}
    values["sampler"] = gr.Dropdown(_samplers(wish.model), value=wish.sampler)
    return [values[name] for name in Controls.__dataclass_fields__]


def _strength(text: str | None) -> float | str | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _of_model(model: str) -> list[Any]:
    best = suited(model)
    return [gr.Dropdown(_samplers(model), value=OWN), best.steps, best.guidance, best.height, best.width]


def _samplers(model: str) -> list[str]:
    try:
        with TOKENIZING:
            return samplers(model)
    except PromptAttnError:  # a model that cannot be had; the count below the prompt says why
        return [OWN]
