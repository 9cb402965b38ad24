"""What a dropped image says of how it was made, as values of the page's controls."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptattn.app.bounds import most_side
from promptattn.app.runs import Wish
from promptattn.app.samplers import OWN, changed_options, sampler_of, samplers
from promptattn.errors import ExportError, PromptAttnError
from promptattn.export import read_image
from promptattn.prompt.parsing import SYNTAXES
from promptattn.weighting import METHODS, PLACES

__all__ = ["Dropped", "read_dropped"]

# What a setting is where nobody chose it; anything else that has no control is told.
_USUAL: Mapping[str, Any] = {
    "true_cfg_scale": None,
    "clip_skip": None,
    "layers": None,
    "weight_steps": None,
    "rows": "image",
    "normalisation": "none",
    "restore_mean": True,
    "pooled": False,
}


@dataclass(frozen=True)
class Dropped:
    """The prompt and the settings of an image, and what of it could not be taken over."""

    prompt: str
    wish: Wish
    notes: tuple[str, ...]


def read_dropped(file: Path, models: tuple[str, ...], shown: Wish, *, most_bytes: int) -> Dropped:
    """Read an image that somebody dropped. What it does not say stays as it is `shown`.

    Args:
        models: those that the page offers; nothing else is loaded because an image names it.
        most_bytes: a larger file is not opened.

    Raises:
        ExportError: for a file that is too large, is no image, or says nothing of how it was made.
    """
    size = file.stat().st_size
    if size > most_bytes:
        megabytes, most = size / 2**20, most_bytes / 2**20
        raise ExportError(f"{file.name} has {megabytes:.1f} MB, and {most:.0f} MB are taken at most (--max-upload-mb).")
    try:
        read = read_image(file)
    except ExportError as error:
        # The person knows the file by its name, and not by where it was put.
        raise ExportError(str(error).replace(str(file), file.name)) from error
    settings, notes = read.settings, [each.message for each in read.diagnostics]
    model = settings.get("model", shown.model)
    if model not in models:
        notes.append(f"it was made by {model!r:.60}, which is not offered here; the model stays {shown.model}")
        model = shown.model
    notes += _left_out(settings)
    height, width = _size(settings, model, shown, notes)
    wish = Wish(
        model=model,
        negative=read.negative_prompt or "",
        sampler=_sampler(settings.get("scheduler"), model, notes),
        seed=_whole(settings.get("seed"), shown.seed),
        steps=_whole(settings.get("num_inference_steps"), shown.steps),
        guidance=_number(settings.get("guidance_scale"), shown.guidance),
        height=height,
        width=width,
        syntax=_one_of(SYNTAXES, settings.get("syntax"), shown.syntax, "syntax", notes),
        method=_one_of(METHODS, settings.get("weighting"), shown.method, "weighting", notes),
        where=_one_of(PLACES, settings.get("where"), shown.where, "where", notes),
        strength=_exponent(settings.get("strength"), shown.strength),
    )
    return Dropped(read.prompt, wish, tuple(notes))


def _left_out(settings: Mapping[str, Any]) -> list[str]:
    other = {name: value for name, value in settings.items() if name in _USUAL and value != _USUAL[name]}
    return [f"the page has no control for {name}, which was {value!r:.60}" for name, value in other.items()]


def _sampler(scheduler: Any, model: str, notes: list[str]) -> str:
    """What the sampler is called here, where the model can have it; the model's own where it cannot."""
    if not isinstance(scheduler, Mapping):
        return OWN
    name = sampler_of(scheduler)
    try:
        if name not in samplers(model):
            notes.append(f"its sampler {name:.60} does not fit {model}, which keeps its own")
            return OWN
        other = changed_options(model, name, scheduler.get("options") or {})
    except PromptAttnError:  # the model cannot be had; the line below the prompt says why
        return OWN
    if other:
        listed = ", ".join(f"{option} ({value!r:.40})" for option, value in other.items())
        notes.append(f"its sampler had other options, which stay as {model} has them: {listed}")
    return name


def _size(settings: Mapping[str, Any], model: str, shown: Wish, notes: list[str]) -> tuple[int | None, int | None]:
    """Height and width, where the model can make an image of that size."""
    height, width = _whole(settings.get("height"), shown.height), _whole(settings.get("width"), shown.width)
    most = most_side(model)
    if max(height or 0, width or 0) <= most:
        return height, width
    notes.append(f"its {width} x {height} pixels are more than {model} makes here, {most} a side; the size stays")
    return shown.height, shown.width


def _one_of(known: Collection[str], value: Any, otherwise: str, name: str, notes: list[str]) -> str:
    if value is None or (isinstance(value, str) and value in known):
        return value or otherwise
    notes.append(f"its {name}, {value!r:.60}, is none that the page knows; it stays {otherwise}")
    return otherwise


def _whole(value: Any, otherwise: Any) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


def _exponent(value: Any, otherwise: float | str | None) -> float | str | None:
    return "exact" if value == "exact" else _number(value, None) or otherwise


def _number(value: Any, otherwise: float | None) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
