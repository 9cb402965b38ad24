"""The settings beside the tabs, which all of them share, and the wish that their values make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from promptattn.app.bounds import new_seed
from promptattn.app.boxes import Written, prompt_box
from promptattn.app.offered import suited
from promptattn.app.runs import Wish
from promptattn.app.samplers import OWN, samplers
from promptattn.errors import PromptAttnError
from promptattn.prompt.parsing import SYNTAXES
from promptattn.weighting import METHODS, PLACES

__all__ = ["Controls", "Settings", "settings_column", "shown_wish", "wish_of"]


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


@dataclass(frozen=True)
class Settings:
    """The column of settings.

    Attributes:
        controls: all of its components that a run depends on.
        negative: the negative prompt, with what is seen of it.
        suited: the model that the other settings were last made to suit, or came with.
    """

    controls: Controls
    negative: Written
    suited: gr.State


def settings_column(models: Sequence[str]) -> Settings:
    """Lay the settings out; the first of the models is chosen."""
    first = suited(models[0])
    model = gr.Dropdown(list(models), value=models[0], label="Model", elem_id="pa-model")
    negative = prompt_box("Negative prompt", "", "negative", placeholder="what to stay away from", lines=2)
    sampler = gr.Dropdown(_samplers(models[0]), value=OWN, label="Sampler", elem_id="pa-sampler")
    # Bounds are not gradio's, whose words for them do not say which of the numbers is meant.
    with gr.Row(elem_classes="pa-tight"):
        seed = gr.Number(0, label="Seed", placeholder="any", min_width=90, scale=3, elem_id="pa-seed")
        other = gr.Button("New seed", size="sm", scale=1, min_width=80, elem_id="pa-new-seed")
    with gr.Row(elem_classes="pa-tight"):
        steps = gr.Number(first.steps, label="Steps", min_width=80, elem_id="pa-steps", placeholder="usual")
        guidance = gr.Number(
            first.guidance, label="Guidance", step=0.5, min_width=80, elem_id="pa-guidance", placeholder="usual"
        )
    with gr.Accordion("More settings", open=False):
        with gr.Row(elem_classes="pa-tight"):
            width = gr.Number(first.width, label="Width", min_width=80, elem_id="pa-width", placeholder="usual")
            height = gr.Number(first.height, label="Height", min_width=80, elem_id="pa-height", placeholder="usual")
        syntax = gr.Dropdown(sorted(SYNTAXES), value="a1111", label="Written as", elem_id="pa-syntax")
        method = gr.Dropdown(list(METHODS), value=METHODS[0], label="What a weight does", elem_id="pa-method")
        where = gr.Dropdown(list(PLACES), value="auto", label="Where weights act", elem_id="pa-where")
        strength = gr.Textbox(
            label="Exponent on weights",
            placeholder='6, or "exact" for plain odds',
            max_length=20,
            elem_id="pa-strength",
        )
    controls = Controls(
        model, negative.box, sampler, seed, steps, guidance, height, width, syntax, method, where, strength
    )
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    other.click(new_seed, outputs=seed, **quiet)
    made_to_suit = gr.State(models[0])
    # Of a person's choice only: what a dropped image says is not to be overwritten by what suits its model.
    model.input(_of_model, [model, made_to_suit], [made_to_suit, sampler, steps, guidance, height, width], **quiet)
    return Settings(controls, negative, made_to_suit)


def wish_of(values: Sequence[Any]) -> Wish:
    """The wish that the values of :attr:`Controls.all` make, as they are; an emptied box is None."""
    named = dict(zip(Controls.__dataclass_fields__, values, strict=True))
    return Wish(**{**named, "negative": named["negative"] or "", "strength": _strength(named["strength"])})


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


def _of_model(model: str, before: str) -> list[Any]:
    if model == before:  # the box was only passed through, with the Tab key
        return [gr.skip() for _ in range(6)]
    best = suited(model)
    return [model, gr.Dropdown(_samplers(model), value=OWN), best.steps, best.guidance, best.height, best.width]


def _samplers(model: str) -> list[str]:
    try:
        return list(samplers(model))
    except PromptAttnError:  # a model that cannot be had; the count below the prompt says why
        return [OWN]
