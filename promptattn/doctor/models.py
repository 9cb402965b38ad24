"""The models at hand: those in the package, and what lies in the hub's cache."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from promptattn.doctor.checks import Check

__all__ = ["look_at_models"]

_GROUP = "models"
_SHIPPED = {"shapes": "unet", "shapes-dit": "dit"}


def look_at_models() -> Iterator[Check]:
    """The shipped pipelines, whole or not; the presets in the cache; whether the hub may be asked for others."""
    from promptattn.config import preset, preset_names
    from promptattn.errors import UnsupportedModelError
    from promptattn.shapes.weights import weights_folder

    for name, folder in _SHIPPED.items():
        try:
            yield _shipped(name, weights_folder(folder))
        except UnsupportedModelError as error:
            yield Check(_GROUP, name, "broken", str(error), "pip install --force-reinstall promptattn")
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    offline = constants.is_offline_mode()
    for name in preset_names():
        known = preset(name)
        source = known.model.name if known is not None else name
        if name in _SHIPPED or "/" not in source:
            continue
        there = (cache / f"models--{source.replace('/', '--')}").is_dir()
        advice = "" if there else "unset HF_HUB_OFFLINE to fetch it" if offline else "fetched when first used"
        yield Check(_GROUP, name, "fine" if there else "absent", f"{source}{'' if there else ' is not cached'}", advice)
    yield Check(_GROUP, "hub", "fine", f"{'offline, ' if offline else ''}cache in {_short(cache)}")


def _shipped(name: str, folder: Path) -> Check:
    """A pipeline of the package: whether each file of weights is as long as it says it is."""
    files = sorted(folder.glob("*/*.safetensors"))
    damaged = [file.parent.name for file in files if not _is_whole(file)]
    if damaged or not files:
        said = f"the weights of {', '.join(damaged) or 'every part'} are damaged or missing"
        return Check(_GROUP, name, "broken", said, "pip install --force-reinstall promptattn")
    return Check(_GROUP, name, "fine", f"in the package, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB")


def _is_whole(file: Path) -> bool:
    """Whether a safetensors file holds the header and the bytes of tensors that its header announces."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            size = file.stat().st_size
            if length > size:  # a pointer to a large file that was not fetched, say
                return False
            header = json.loads(opened.read(length))
            ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return 8 + length + max(ends, default=0) == size


def _short(path: Path) -> str:
    home = str(Path.home())
    return str(path).replace(home, "~", 1) if str(path).startswith(home + os.sep) else str(path)
