"""Maps as arrays on disk: `maps.npz` and `maps.safetensors`, each whole by itself, and `maps.json` for reading by eye.

All three carry the same versioned description; both array files hold the same arrays, float32 and exact. Names:
`attention/<layer>` `[image, height, width, column]`, with `/per_step` and `/per_head` where kept; `looking/<layer>`
likewise for where the words look; `patch/<i>/<layer>`; `text/<i>/<encoder>` `[layer, query_token, key_token]`. Newer
versions only add to the description.
"""

import json
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from promptattn import __version__
from promptattn.errors import ExportError
from promptattn.maps import ColumnInfo, HeatMaps, LayerMaps, PatchMaps, PromptInfo, Reading, TextAttention
from promptattn.prompt import Token, Word

__all__ = ["FORMAT", "VERSION", "build_prompt", "describe", "describe_prompt", "load", "write_arrays"]

FORMAT = "promptattn-maps"
VERSION = 1

T = TypeVar("T")
Arrays = dict[str, NDArray[np.float32]]


def describe(maps: HeatMaps) -> dict[str, Any]:
    """Everything about the maps but the masses, as values that JSON can hold; raises `ExportError` if `meta` cannot."""
    description = {
        "format": FORMAT,
        "version": VERSION,
        "promptattn": __version__,
        "unit": "attention probability after weighting, in [0, 1]; mean over heads and recorded steps",
        "image_size": list(maps.image_size),
        "rule": maps.rule,
        "prompt_index": list(maps.prompt_index),
        "prompts": [describe_prompt(prompt) for prompt in maps.prompts],
        "averaged": maps.averaged,
        "layers": [_describe_layer(layer, "attention") for layer in maps.records],
        "sources": [_describe_layer(layer, "looking") for layer in maps.sources],
        "patches": [
            {
                "array": f"patch/{i}/{patch.name}",
                "name": patch.name,
                "grid": list(patch.grid),
                "patch": list(patch.patch),
            }
            for i, patch in enumerate(maps.patches)
        ],
        "text_attention": [
            {
                "array": f"text/{i}/{text.encoder}",
                "encoder": text.encoder,
                "prompt": text.prompt,
                "image": text.image,
                "columns": [asdict(column) for column in text.columns],
            }
            for i, text in enumerate(maps.text_attention)
        ],
        "shapes": {name: list(array.shape) for name, array in _arrays(maps).items()},
        "meta": dict(maps.meta),
    }
    try:
        json.dumps(description, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ExportError(f"The maps' meta holds a value that JSON cannot hold: {error}.") from error
    return description


def describe_prompt(prompt: PromptInfo) -> dict[str, Any]:
    """A prompt as values that JSON can hold."""
    return {
        "text": prompt.text,
        "tokens": [asdict(token) for token in prompt.tokens],
        "words": [asdict(word) for word in prompt.words],
        "columns": [asdict(column) for column in prompt.columns],
        "cut": list(prompt.cut),
        "encoder": prompt.encoder,
        "others": [asdict(reading) for reading in prompt.others],
        "versions": [list(version) for version in prompt.versions],
    }


def _describe_layer(layer: LayerMaps, kind: str) -> dict[str, Any]:
    return {
        "array": f"{kind}/{layer.name}",
        "name": layer.name,
        "grid": list(layer.grid),
        "per_step": layer.per_step is not None,
        "per_head": layer.per_head is not None,
        "steps": list(layer.step_numbers),
        "heads": None if layer.heads is None else list(layer.heads),
    }


def _arrays(maps: HeatMaps) -> Arrays:
    arrays: Arrays = {}
    for kind, layers in (("attention", maps.records), ("looking", maps.sources)):
        for layer in layers:
            arrays[f"{kind}/{layer.name}"] = layer.mass
            if layer.per_step is not None:
                arrays[f"{kind}/{layer.name}/per_step"] = layer.per_step
            if layer.per_head is not None:
                arrays[f"{kind}/{layer.name}/per_head"] = layer.per_head
    arrays |= {f"patch/{i}/{patch.name}": patch.mass for i, patch in enumerate(maps.patches)}
    arrays |= {f"text/{i}/{text.encoder}": text.mass for i, text in enumerate(maps.text_attention)}
    return arrays


def write_arrays(maps: HeatMaps, folder: Path, description: Mapping[str, Any], formats: Collection[str]) -> None:
    """Write `maps.json`, and `maps.npz` and `maps.safetensors` if `formats` has them, into an existing folder."""
    arrays = {name: np.ascontiguousarray(array) for name, array in _arrays(maps).items()}
    text = json.dumps(description)
    if "npz" in formats:
        np.savez_compressed(folder / "maps.npz", description=np.array(text), **arrays)  # type: ignore[arg-type]
    if "safetensors" in formats:
        # Not `save_file`: it hides the system's error (a full disk) and keeps the file from other users.
        (folder / "maps.safetensors").write_bytes(save(arrays, metadata={"description": text}))
    readable = json.dumps(description, ensure_ascii=False, indent=1)
    # A lone surrogate, which a prompt may hold, has no UTF-8; its backslash form is what JSON writes for it.
    (folder / "maps.json").write_bytes(readable.encode("utf-8", "backslashreplace"))


def load(path: str | PathLike[str]) -> HeatMaps:
    """Read maps back, exactly, from a folder written by `save`, or from its `maps.npz` or `maps.safetensors` alone.

    Raises `ExportError` if there are no maps, or if the file was written by a newer promptattn with another format.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        both = file / "maps.safetensors", file / "maps.npz"
        file = next((each for each in both if each.is_file()), both[0])
    if not file.is_file():
        raise ExportError(f"There are no maps at '{path}': give an exported folder, a maps.npz or a maps.safetensors.")
    try:
        text, arrays = _read_npz(file) if file.suffix == ".npz" else _read_safetensors(file)
        description = json.loads(text)
    except (OSError, KeyError, ValueError, SafetensorError, zipfile.BadZipFile) as error:
        raise ExportError(f"'{file}' does not hold maps that can be read: {error}.") from error
    if description.get("format") != FORMAT or description.get("version") != VERSION:
        raise ExportError(
            f"'{file}' is of format {description.get('format')!r} version {description.get('version')!r}; "
            f"this promptattn reads {FORMAT!r} version {VERSION}."
        )
    return _build(description, arrays)


def _read_npz(file: Path) -> tuple[str, Arrays]:
    with np.load(file, allow_pickle=False) as stored:
        return str(stored["description"]), {name: stored[name] for name in stored.files if name != "description"}


def _read_safetensors(file: Path) -> tuple[str, Arrays]:
    with safe_open(file, framework="numpy") as stored:
        names: list[str] = stored.keys()
        return (stored.metadata() or {})["description"], {name: stored.get_tensor(name) for name in names}


def _build(description: dict[str, Any], arrays: Arrays) -> HeatMaps:
    return HeatMaps(
        prompts=tuple(build_prompt(prompt) for prompt in description["prompts"]),
        records=tuple(_build_layer(layer, arrays) for layer in description["layers"]),
        image_size=_pair(description["image_size"]),
        prompt_index=tuple(description["prompt_index"]),
        sources=tuple(_build_layer(layer, arrays) for layer in description.get("sources", ())),
        averaged=description.get("averaged", False),
        patches=tuple(
            PatchMaps(patch["name"], _pair(patch["grid"]), _pair(patch["patch"]), arrays[patch["array"]])
            for patch in description["patches"]
        ),
        text_attention=tuple(
            TextAttention(
                text["encoder"],
                tuple(_known(ColumnInfo, column) for column in text["columns"]),
                arrays[text["array"]],
                text["prompt"],
                text.get("image"),
            )
            for text in description["text_attention"]
        ),
        meta=description["meta"],
        rule=description.get("rule", "coherence"),
    )


def build_prompt(prompt: dict[str, Any]) -> PromptInfo:
    """The prompt that `describe_prompt` described."""
    first, *others = [_build_reading(reading) for reading in (prompt, *prompt.get("others", ()))]
    return PromptInfo(
        text=prompt["text"],
        tokens=first.tokens,
        words=first.words,
        columns=tuple(_known(ColumnInfo, column) for column in prompt["columns"]),
        cut=first.cut,
        encoder=first.encoder,
        others=tuple(others),
        versions=tuple(tuple(version) for version in prompt.get("versions", ())),
    )


def _build_reading(reading: dict[str, Any]) -> Reading:
    return Reading(
        encoder=reading.get("encoder", ""),
        tokens=tuple(_known(Token, token) for token in reading["tokens"]),
        words=tuple(_known(Word, {**word, "tokens": tuple(word["tokens"])}) for word in reading["words"]),
        cut=tuple(reading["cut"]),
    )


def _build_layer(layer: dict[str, Any], arrays: Arrays) -> LayerMaps:
    name = layer["array"]
    return LayerMaps(
        name=layer["name"],
        grid=_pair(layer["grid"]),
        mass=arrays[name],
        per_step=arrays.get(f"{name}/per_step"),
        per_head=arrays.get(f"{name}/per_head"),
        steps=tuple(layer["steps"]) if layer["per_step"] else None,
        heads=tuple(layer.get("heads") or ()) or None,
    )


def _known(kind: type[T], values: Mapping[str, Any]) -> T:
    """A `kind` from the values it knows; a newer promptattn may have written more."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if name in names})


def _pair(values: Any) -> Any:
    first, second = values
    return first, second
