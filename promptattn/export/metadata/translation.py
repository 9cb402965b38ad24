"""From A1111's names for settings to ours and back, with a sentence for everything that does not come over."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from promptattn import __version__
from promptattn.errors import PromptAttnError, PromptAttnWarning
from promptattn.export.metadata.parameters import Parameters, format_parameters
from promptattn.export.metadata.record import seed_of, text_of
from promptattn.export.metadata.samplers import scheduler_for, written_as
from promptattn.export.metadata.unhonoured import reasons
from promptattn.prompt import parse
from promptattn.prompt.combining import AND

__all__ = ["Note", "from_a1111", "to_a1111"]


@dataclass(frozen=True, slots=True)
class Note:
    """One finding about an image's text. A `warning` is what makes a difference to the image made from it."""

    code: str
    message: str
    severity: Literal["info", "warning"] = "warning"

    def __str__(self) -> str:
        return self.message


def to_a1111(settings: Mapping[str, Any], index: int) -> str:
    """The `parameters` text of image `index` of a batch made with these settings of a `Generation`.

    Prompts in another syntax are written in A1111's. What A1111's syntax cannot say stands in our own JSON only, and
    in this text as it was typed.
    """
    count = int(settings.get("num_images_per_prompt", 1))
    prompt, negative = (text_of(settings.get(key), index, count) for key in ("prompt", "negative_prompt"))
    syntax = str(settings.get("syntax", "a1111"))
    scheduler = settings.get("scheduler")
    sampler, schedule = written_as(scheduler) if scheduler else (None, None)
    skipped = settings.get("clip_skip")
    fields = {
        "Steps": settings.get("num_inference_steps"),
        "Sampler": sampler,
        "Schedule type": schedule,
        "CFG scale": _guidance(settings),
        "Distilled CFG Scale": _number(settings.get("guidance_scale")) if _distilled(settings) else None,
        "Seed": seed_of(settings, index),
        "Size": f"{settings['width']}x{settings['height']}",
        "Model": _model_name(str(settings.get("model") or "")) or None,
        "Clip skip": skipped + 1 if skipped else None,
        "RNG": "CPU",
        "Version": f"promptattn {__version__}",
    }
    given = [(name, value) for name, value in fields.items() if value is not None]
    return format_parameters(_in_a1111(prompt or "", syntax), _in_a1111(negative or "", syntax), given)


def _in_a1111(text: str, syntax: str) -> str:
    """A prompt in A1111's syntax, or as it stands where that cannot say it."""
    if syntax == "a1111":
        return text
    try:
        return parse(text, syntax).render()
    except PromptAttnError as error:
        said = (
            f"{text!r:.60} cannot be written in A1111's syntax ({error}); the image's parameters text has it as typed"
        )
        warnings.warn(f"{said}, and promptattn's own JSON makes it again.", PromptAttnWarning, stacklevel=2)
        return text


def from_a1111(parameters: Parameters) -> tuple[dict[str, Any], list[Note]]:
    """The settings that a `parameters` text gives, by our names, and what of it makes no difference here.

    Only what the text says is among the settings. `model` is the name that the text gives, which need not exist here.
    """
    fields, notes = dict(parameters.fields), []
    settings: dict[str, Any] = {
        "prompt": parameters.prompt,
        "negative_prompt": parameters.negative_prompt or None,
        "syntax": "a1111",
    }
    for name, (setting, read, wanted) in _NUMBERS.items():
        if (text := fields.pop(name, None)) is None:
            continue
        try:
            settings |= {setting: read(text)}
        except ValueError:
            notes.append(Note("unread-setting", f"{name}: {text!r:.60} is not {wanted}, and is left out"))
    settings |= _size(fields, notes)
    settings |= _scales(settings, fields)
    if model := fields.pop("Model", None):
        settings["model"] = model
    notes += _scheduler(settings, fields)
    notes += _and_in_negative(settings)
    notes += _emphasis(settings, fields)
    notes += [Note(code, message, severity) for code, message, severity in reasons(fields, settings)]
    return settings, notes


def _whole(least: int, below: int = 2**63) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
        if not least <= number < below:
            raise ValueError(text)
        return number

    return read


def _skip(text: str) -> int:
    return _whole(1, 100)(text) - 1


def _real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


# A1111's name: (ours, how it is read, what it must be). Its Clip skip counts the layer that is kept, from 1.
_NUMBERS: Mapping[str, tuple[str, Callable[[str], Any], str]] = {
    "Steps": ("num_inference_steps", _whole(1, 100_000), "a number of steps"),
    "Seed": ("seed", _whole(0), "a whole number from 0 to 2**63 - 1"),
    "CFG scale": ("guidance_scale", _real, "a finite number"),
    "Clip skip": ("clip_skip", _skip, "a whole number from 1"),
}


def _size(fields: dict[str, str], notes: list[Note]) -> dict[str, int]:
    text = fields.pop("Size", None)
    if text is None:
        return {}
    try:
        width, height = (_whole(1, 100_000)(part) for part in text.split("x"))
    except ValueError:
        notes.append(Note("unread-setting", f"Size: {text!r:.60} is not a width and a height, and is left out"))
        return {}
    return {"width": width, "height": height}


def _scales(settings: Mapping[str, Any], fields: dict[str, str]) -> dict[str, float]:
    """Flux is told its guidance as an input, and A1111's successors write that beside the true scale."""
    try:
        distilled = _real(fields.get("Distilled CFG Scale", ""))
    except ValueError:
        return {}
    del fields["Distilled CFG Scale"]
    true = {"true_cfg_scale": settings["guidance_scale"]} if "guidance_scale" in settings else {}
    return {"guidance_scale": distilled, **true}


def _scheduler(settings: dict[str, Any], fields: dict[str, str]) -> Iterator[Note]:
    name, schedule = fields.pop("Sampler", None), fields.pop("Schedule type", None)
    if name is None:
        if schedule is not None:
            yield Note("sampler", f"Schedule type: {schedule!r:.60} is left out: the text names no sampler")
        return
    if "true_cfg_scale" in settings or "Shift" in fields:
        said = f"Sampler: {name!r:.60}" + (f", Schedule type: {schedule!r:.60}" if schedule is not None else "")
        yield Note("sampler", f"{said}: flow matching, for which the model's own scheduler is used", "info")
        return
    found, said_of_it = scheduler_for(name, schedule)
    yield from (Note("sampler", said) for said in said_of_it)
    if found is not None:
        settings["scheduler"] = found


def _and_in_negative(settings: dict[str, Any]) -> Iterator[Note]:
    """A1111 joins prompts with AND, but reads the word as text in a negative one."""
    negative = settings["negative_prompt"] or ""
    if AND.search(negative):
        settings["negative_prompt"] = AND.sub(r"A\\ND", negative)
        said = "AND is a word of the negative prompt, as A1111 reads it there; A\\ND is how it is written here"
        yield Note("negative-and", said, "info")


def _emphasis(settings: dict[str, Any], fields: dict[str, str]) -> Iterator[Note]:
    """Weights act as they did there, if there are any."""
    if fields.get("Emphasis") in ("Original", "No norm"):
        settings["restore_mean"] = fields.pop("Emphasis") == "Original"
    texts = (settings["prompt"], settings["negative_prompt"] or "")
    if any(bracket in text for text in texts for bracket in "(["):
        settings["weighting"] = "a1111"
        yield Note(
            "weighting",
            "weights act as in A1111, which scales the text embeddings (--method a1111); --method attention weighs"
            " attention instead",
            "info",
        )
    else:
        settings.pop("restore_mean", None)


def _distilled(settings: Mapping[str, Any]) -> bool:
    return "true_cfg_scale" in settings


def _guidance(settings: Mapping[str, Any]) -> str | None:
    return _number(settings.get("true_cfg_scale" if _distilled(settings) else "guidance_scale"))


def _number(value: Any) -> str | None:
    """As A1111 writes it: 7, not 7.0."""
    return None if value is None else f"{int(value)}" if float(value).is_integer() else repr(float(value))


def _model_name(name: str) -> str:
    """Without the folders that it lies in, which are nobody's business."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] or name
