"""What is known of a model without its weights: its parts by class, and how its denoiser gets the text."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from promptattn.processors.layouts import LAYOUTS
from promptattn.processors.segments import TEXT_LAYOUTS, TextLayout
from promptattn.run.loading.load import load_tokenizers, recommended

__all__ = ["EncoderFacts", "ModelFacts", "model_facts"]

_DENOISERS = ("unet", "transformer", "prior")
_SUFFIXES = ("", "_2", "_3", "_4")


@dataclass(frozen=True)
class EncoderFacts:
    """A text encoder: its name in the pipeline, its class, and how the denoiser gets what it reads.

    `role` is `rows` where the denoiser attends to its tokens, `pooled` where it only gets one vector for the whole
    text, and `absent` where the pipeline has no such encoder and puts zeros in the place of its rows.
    """

    name: str
    kind: str
    role: str


@dataclass(frozen=True)
class ModelFacts:
    """A pipeline by name: its class, its denoiser's class, and its text encoders.

    `attention` is `cross` or `joint`, or `unknown` for a denoiser that promptattn does not serve. `negative` says when
    a negative prompt is read: `yes`, `no`, or `true_cfg` where only guidance by a second pass reads it.
    """

    name: str
    pipeline: str
    denoiser: str
    attention: str
    negative: str
    encoders: tuple[EncoderFacts, ...]
    settings: Mapping[str, Any]
    """What suits the model, by the names of the pipeline's own arguments; empty for one that is no preset."""


def model_facts(pipe_or_name: Any) -> tuple[ModelFacts, Any]:
    """What is known of a pipeline, or of a preset, folder or hub id, and something to `plan` prompts with.

    By name, tokenizers and configs are read and no weights.

    Raises `UnsupportedModelError` where there is no such model.
    """
    by_name = isinstance(pipe_or_name, str | PathLike)
    source = load_tokenizers(pipe_or_name) if by_name else pipe_or_name
    denoiser = _denoiser(source)
    facts = ModelFacts(
        name=str(source.config.get("_name_or_path") or type(source).__name__),
        pipeline=type(source).__name__,
        denoiser=denoiser,
        attention=LAYOUTS[denoiser].attention if denoiser in LAYOUTS else "unknown",
        negative=_negative(source),
        encoders=tuple(_encoders(source, TEXT_LAYOUTS.get(denoiser))),
        settings=recommended(source),
    )
    return facts, source


def _class_of(source: Any, part: str) -> str | None:
    """The class of a part: of the part itself, or as the pipeline's index names it; None where there is none."""
    loaded = _loaded(source, part)
    if loaded is not None and not isinstance(loaded, str):
        return type(loaded).__name__
    entry = source.config.get(part)
    named = isinstance(entry, list | tuple) and len(entry) == 2 and entry[0] is not None
    # A live pipeline whose part was set to None no longer has what its config says.
    if not named or (loaded is None and hasattr(source, part)):
        return None
    return str(entry[1])


def _loaded(source: Any, part: str) -> Any:
    """A part itself, also where torch.compile returned another module for it."""
    loaded = getattr(source, part, None)
    return getattr(loaded, "_orig_mod", loaded)


def _denoiser(source: Any) -> str:
    for part in _DENOISERS:
        found = _class_of(source, part)
        if found is not None:
            loaded = _loaded(source, part)
            ancestry = [cls.__name__ for cls in type(loaded).__mro__]
            return next((name for name in ancestry if name in LAYOUTS), found)
    return "no denoiser"


def _encoders(source: Any, layout: TextLayout | None) -> list[EncoderFacts]:
    in_rows = None if layout is None else {name for group in layout.rows for name in group}
    found = []
    for suffix in _SUFFIXES:
        name = f"text_encoder{suffix}"
        kind = _class_of(source, name)
        if kind is not None:
            found.append(EncoderFacts(name, kind, "rows" if in_rows is None or name in in_rows else "pooled"))
        elif in_rows and name in in_rows:
            found.append(EncoderFacts(name, "none", "absent"))
    return found


def _negative(source: Any) -> str:
    takes = inspect.signature(type(source).__call__).parameters
    if "negative_prompt" not in takes:
        return "no"
    return "true_cfg" if "true_cfg_scale" in takes else "yes"
