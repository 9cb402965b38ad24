"""Pipelines by preset, folder or hub id."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from promptattn.errors import UnsupportedModelError

__all__ = ["PRESETS", "Preset", "load", "load_tokenizers", "recommended"]


@dataclass(frozen=True)
class Preset:
    """A pipeline with a name: its folder of weights in the package, and the settings that suit it."""

    weights: str
    settings: Mapping[str, Any]


PRESETS = {"shapes": Preset("unet", {"num_inference_steps": 30, "guidance_scale": 4.0})}
"""The pipelines that ship in the package, by name."""


def load(name_or_path: str | os.PathLike[str], *, dtype: Any = None, device: Any = None) -> Any:
    """An ordinary diffusers pipeline, ready to be called.

    Args:
        name_or_path: a preset (`shapes`), a folder in the diffusers format, or a hub id such as
            `stabilityai/stable-diffusion-xl-base-1.0`.
        dtype: a torch dtype for the weights; None is float32.
        device: where to put the pipeline; None leaves it on the CPU.

    Raises:
        UnsupportedModelError: when there is no such model, or it is neither cached nor can be fetched.
    """
    import torch

    source = _source(os.fspath(name_or_path))
    pipe = _from_pretrained(source, torch.float32 if dtype is None else dtype)
    # Shown in metadata: the name that the user gave, not where the package happens to be installed.
    pipe.register_to_config(_name_or_path=os.fspath(name_or_path))
    pipe.set_progress_bar_config(disable=True)
    return pipe if device is None else pipe.to(device)


def _source(name: str) -> str:
    if name in PRESETS:
        from promptattn.shapes import weights_folder

        return str(weights_folder(PRESETS[name].weights))
    if Path(name).is_dir():
        if not (Path(name) / "model_index.json").is_file():
            raise UnsupportedModelError(
                f"the folder {name} has no model_index.json, so it is not a pipeline saved by diffusers'"
                " save_pretrained(); point to the folder that has it."
            )
        return name
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and " " not in name:
        return name
    raise UnsupportedModelError(
        f"there is no model {name!r}: it is neither a preset ({', '.join(PRESETS)}), nor an existing folder, nor a hub"
        " id of the form owner/name."
    )


def _from_pretrained(source: str, dtype: Any) -> Any:
    from diffusers import DiffusionPipeline

    try:
        with nullcontext() if not Path(source).is_dir() else _without_bars():
            return DiffusionPipeline.from_pretrained(source, dtype=dtype)
    except (OSError, ValueError, ConnectionError, RuntimeError) as error:
        if Path(source).is_dir():
            raise UnsupportedModelError(f"the pipeline in {source} cannot be loaded: {_first_line(error)}") from error
        raise UnsupportedModelError(
            f"the model {source} is not in the local cache and could not be fetched from the hub"
            f" ({_first_line(error)}); check the name and the network, or give a folder"
            " or the preset 'shapes', which needs neither."
        ) from error


@contextmanager
def _without_bars() -> Iterator[None]:
    """The libraries' progress bars off: for a download they are worth seeing, for files on the disk they are noise."""
    import diffusers.utils.logging
    import transformers.utils.logging

    loggers = [
        logger for logger in (diffusers.utils.logging, transformers.utils.logging) if logger.is_progress_bar_enabled()
    ]
    for logger in loggers:
        logger.disable_progress_bar()
    try:
        yield
    finally:
        for logger in loggers:
            logger.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0].rstrip(".") if text else type(error).__name__


def recommended(pipe: Any) -> Mapping[str, Any]:
    """The settings that suit a pipeline loaded from a preset; empty for any other, whose own defaults then hold."""
    preset = PRESETS.get(str(pipe.config.get("_name_or_path", "")))
    return {} if preset is None else preset.settings


def load_tokenizers(name_or_path: str | os.PathLike[str]) -> Any:
    """Only a pipeline's tokenizers, as attributes of one object; all that :func:`promptattn.prompt.plan` needs."""
    source = Path(_source(os.fspath(name_or_path)))
    if not source.is_dir():
        return load(name_or_path)
    from transformers import AutoTokenizer

    names = [path.name for path in sorted(source.glob("tokenizer*")) if path.is_dir()]
    return SimpleNamespace(**{name: AutoTokenizer.from_pretrained(source / name) for name in names})
