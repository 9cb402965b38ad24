"""Pipelines by preset, folder or hub id."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from promptattn.config import preset, preset_names
from promptattn.errors import ConfigError, UnsupportedModelError
from promptattn.run.loading.hub import first_line, hub_error

if TYPE_CHECKING:
    import torch

__all__ = ["check_model", "load", "load_scheduler", "load_tokenizers", "recommended"]

# The pipelines in the package, and their folders of weights in promptattn/shapes.
_SHIPPED = {"shapes": "unet", "shapes-dit": "dit"}


def load(
    name_or_path: str | os.PathLike[str],
    *,
    dtype: Any = None,
    device: Any = None,
    revision: str | None = None,
    variant: str | None = None,
) -> Any:
    """An ordinary diffusers pipeline, ready to be called.

        load("shapes")
        load("sdxl", device="auto")
        load("stabilityai/stable-diffusion-xl-base-1.0", dtype="float16", device="cuda", variant="fp16")

    Args:
        name_or_path: a preset (`shapes`, or another file of `configs/`), a folder in the diffusers format, or a hub id
            such as `stabilityai/stable-diffusion-xl-base-1.0`.
        dtype: of the weights, by name or as a torch dtype. None is what suits the preset, or else `auto`: float32 on
            the CPU, and on a GPU bfloat16, or float16 where it has no bfloat16.
        device: where to put the pipeline: `auto` (the GPU if there is one), `cpu`, `cuda`, `cuda:1`, `mps`, or a
            torch device; None is the CPU.
        revision, variant: of the model on the hub, and of its weight files (`fp16`); None is the preset's, or else
            the main one.

    Raises:
        UnsupportedModelError: when there is no such model, or it is neither cached nor can be fetched.
        ConfigError: for a dtype or device that there is not, and when the device has too little memory.
    """
    from promptattn.run.loading.device import resolve_device, resolve_dtype

    name = os.fspath(name_or_path)
    source, known = _source(name), preset(name)
    place = resolve_device(device)
    wanted = dtype or (known.dtype if known and known.dtype else "auto")
    options = {
        "dtype": resolve_dtype(wanted, place),
        "revision": revision or (known.model.revision if known else None),
        "variant": variant or (known.model.variant if known else None),
    }
    pipe = _from_pretrained(source, options)
    # Shown in metadata: the name that the user gave, not where the package happens to be installed.
    pipe.register_to_config(_name_or_path=name)
    pipe.set_progress_bar_config(disable=True)
    return _moved(pipe, place)


def recommended(pipe: Any) -> Mapping[str, Any]:
    """The settings that suit a pipeline loaded from a preset; empty for any other, whose own defaults then hold."""
    known = preset(str(getattr(pipe, "config", {}).get("_name_or_path", "")))
    if known is None:
        return {}
    settings = {
        "num_inference_steps": known.steps,
        "guidance_scale": known.guidance,
        "height": known.size.height,
        "width": known.size.width,
        "max_sequence_length": known.max_sequence_length,
    }
    return {name: value for name, value in settings.items() if value is not None}


def load_tokenizers(name_or_path: str | os.PathLike[str], *, revision: str | None = None) -> Any:
    """A pipeline's tokenizers without its weights; all that :func:`promptattn.prompt.plan` needs.

    Like the pipeline it has `config`, which names the classes of its parts; encoders that it was saved without are
    None.
    """
    import diffusers
    from transformers import AutoTokenizer

    name = os.fspath(name_or_path)
    source = _small_files(name, revision)
    try:
        index = _index(source)
        kind = getattr(diffusers, str(index.get("_class_name")), None)
        parts_of = {part: value[:1] != [None] for part, value in index.items() if isinstance(value, list)}
        present = [part for part, there in parts_of.items() if there]
        parts = {each: AutoTokenizer.from_pretrained(source / each) for each in present if each.startswith("tokenizer")}
    except Exception as error:
        raise UnsupportedModelError(f"the tokenizers of {name} cannot be loaded: {first_line(error)}.") from error
    # How prompts are cut depends on the kind of denoiser, and on what the pipeline's own call takes.
    denoiser = {"transformer": "not loaded" if "transformer" in present else None}
    call = {"__call__": kind.__call__} if kind else {}
    like = type(getattr(kind, "__name__", "Tokenizers"), (SimpleNamespace,), call)
    absent = {part: None for part, there in parts_of.items() if not there and part.startswith("text_encoder")}
    return like(**parts, **denoiser, **absent, config={**index, "_name_or_path": name})


def load_scheduler(name_or_path: str | os.PathLike[str], *, revision: str | None = None) -> Any:
    """A pipeline's own scheduler, without its weights."""
    import diffusers

    name = os.fspath(name_or_path)
    source = _small_files(name, revision)
    try:
        _, kind = _index(source)["scheduler"]
        return getattr(diffusers, kind).from_pretrained(source, subfolder="scheduler")
    except Exception as error:
        raise UnsupportedModelError(f"the scheduler of {name} cannot be loaded: {first_line(error)}.") from error


def check_model(name_or_path: str | os.PathLike[str]) -> None:
    """Raise `UnsupportedModelError` for what is neither a preset nor a folder of a pipeline nor like a hub id.

    Nothing is loaded or fetched.
    """
    _source(os.fspath(name_or_path))


def _source(name: str) -> str:
    """The folder, or the hub id, that a name stands for."""
    if name in _SHIPPED:
        from promptattn.shapes import weights_folder

        return str(weights_folder(_SHIPPED[name]))
    known = preset(name)
    if known is not None and known.model.name != name:
        return _source(known.model.name)
    if Path(name).is_dir():
        if not (Path(name) / "model_index.json").is_file():
            raise UnsupportedModelError(
                f"the folder {name} has no model_index.json, so it is not a pipeline saved by diffusers'"
                " save_pretrained(); point to the folder that has it."
            )
        return name
    if name.count("/") == 1 and not name.startswith((".", "/", "~")) and " " not in name:
        return name
    close = get_close_matches(name, preset_names(), n=1)
    raise UnsupportedModelError(
        f"there is no model {name!r}: it is neither a preset ({', '.join(preset_names())}), nor an existing folder, nor"
        f" a hub id of the form owner/name{f'; did you mean {close[0]}?' if close else '.'}"
    )


def _from_pretrained(source: str, options: Mapping[str, Any]) -> Any:
    from diffusers import DiffusionPipeline

    local = Path(source).is_dir()
    try:
        absent = _absent(Path(source)) if local else {}
        with _without_bars() if local else nullcontext():
            return DiffusionPipeline.from_pretrained(source, **options, **absent)
    # Whatever a model's files or a network can make of it: torch, safetensors, tokenizers and the HTTP library each
    # raise errors of their own. The whole story is in __cause__.
    except Exception as error:
        from promptattn.run.cost.shortage import is_shortage

        if is_shortage(error):
            raise _too_large(f"there is too little memory to load {source}") from error
        if local:
            raise UnsupportedModelError(f"the pipeline in {source} cannot be loaded: {first_line(error)}.") from error
        raise hub_error(source, options["revision"], error) from error


def _absent(folder: Path) -> dict[str, None]:
    """The parts that a pipeline was saved without, such as a Stable Diffusion 3 without T5.

    diffusers saves such a folder, and loads it only when told once more that the part is None.
    """
    return {name: None for name, value in _index(folder).items() if isinstance(value, list) and value[:1] == [None]}


def _index(folder: Path) -> dict[str, Any]:
    """What the parts of a saved pipeline are."""
    index: dict[str, Any] = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return index


def _small_files(name: str, revision: str | None) -> Path:
    """The folder of a model's tokenizers and settings; of one on the hub nothing of its gigabytes is fetched."""
    source, known = Path(_source(name)), preset(name)
    if source.is_dir():
        return source
    from huggingface_hub import snapshot_download

    model, wanted = source.as_posix(), revision or (known.model.revision if known else None)
    small = ["tokenizer*/*", "scheduler/*.json", "model_index.json"]
    try:
        return Path(snapshot_download(model, revision=wanted, allow_patterns=small))
    except Exception as error:
        raise hub_error(model, wanted, error) from error


def _moved(pipe: Any, device: "torch.device") -> Any:
    import torch

    if device.type == "cpu":  # where it is loaded
        return pipe
    try:
        return pipe.to(device)
    except torch.OutOfMemoryError as error:
        dtype = str(pipe.dtype).removeprefix("torch.")
        raise _too_large(f"{device} has too little memory for this model in {dtype}", "--device cpu") from error


def _too_large(what: str, *more: str) -> ConfigError:
    first, *others = ("a smaller number format (--dtype bfloat16)", "a smaller model", *more)
    return ConfigError(f"{what}; choose {', '.join([first, *others[:-1]])}, or {others[-1]}.")


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
