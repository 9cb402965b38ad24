"""Our own JSON in an image: the settings that make it again, to the bit, and which image of its batch it is.

    {"format": "promptattn-image", "version": 1, "promptattn": "0.1.0", "libraries": {"torch": ...}, "image": 0,
     "seed": 7, "settings": {"prompt": ["un gato (rojo:1.4)"], "model": "shapes", "num_inference_steps": 30, ...}}

`settings` are those of :class:`promptattn.Generation`, of the whole batch. Newer versions only add to them.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, TypeGuard

from promptattn import __version__
from promptattn.errors import ExportError

__all__ = ["IN_CONFIG", "Record", "current_versions", "read_record", "seed_of", "text_of", "write_record"]

FORMAT: Final = "promptattn-image"
VERSION: Final = 1
LIBRARIES: Final = ("torch", "diffusers", "transformers")

IN_CONFIG: Final[Mapping[str, str]] = {
    "model": "model",
    "dtype": "dtype",
    "scheduler": "scheduler",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "true_cfg_scale": "true_cfg",
    "height": "size.height",
    "width": "size.width",
    "seed": "seed",
    "num_images_per_prompt": "images",
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "syntax": "syntax",
    "clip_skip": "clip_skip",
    "max_sequence_length": "max_sequence_length",
    "weighting": "weighting.method",
    "normalisation": "weighting.normalisation",
    "restore_mean": "weighting.restore_mean",
    "pooled": "weighting.pooled",
    "where": "weighting.where",
    "strength": "weighting.strength",
    "rows": "weighting.rows",
    "layers": "weighting.layers",
    "weight_steps": "weighting.steps",
}
"""The settings that make an image, and what a config calls them."""


@dataclass(frozen=True)
class Record:
    """Our JSON, read: the settings of the whole batch, which of its images this is, and the versions that made it."""

    settings: Mapping[str, Any]
    index: int
    versions: Mapping[str, str]

    def narrowed(self) -> dict[str, Any]:
        """The settings that make this image alone."""
        per_prompt, prompts = self.settings.get("num_images_per_prompt", 1), self.settings["prompt"]
        own = {name: value for name, value in self.settings.items() if name in IN_CONFIG}
        negative = text_of(self.settings.get("negative_prompt"), self.index, per_prompt)
        return own | {
            "prompt": text_of(prompts, self.index, per_prompt),
            "negative_prompt": negative,
            "seed": seed_of(self.settings, self.index),
            "num_images_per_prompt": 1,
        }

    @property
    def images(self) -> int:
        """How many images the batch had."""
        return len(self.settings["prompt"]) * int(self.settings.get("num_images_per_prompt", 1))


def write_record(settings: Mapping[str, Any], index: int) -> str:
    """The JSON for image `index` of a batch, in ASCII, which also carries what has no UTF-8."""
    record = {
        "format": FORMAT,
        "version": VERSION,
        "promptattn": __version__,
        "libraries": _libraries(),
        "image": index,
        "seed": seed_of(settings, index),
        "settings": {name: value for name, value in settings.items() if name in IN_CONFIG},
    }
    return json.dumps(record, allow_nan=False)


def read_record(text: str) -> Record:
    """Read what :func:`write_record` wrote; values are checked as far as this module uses them.

    Raises:
        ExportError: for text that is not such JSON, or holds numbers that are not finite, or is of a newer version.
    """
    try:
        data = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ExportError(f"the JSON is damaged: {str(error)[:100]}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ExportError(f"the JSON is not of the format {FORMAT!r}")
    if data.get("version") != VERSION:
        raise ExportError(
            f"the JSON is of version {data.get('version')!r:.20}, and this promptattn reads version {VERSION}"
        )
    settings, index = data.get("settings"), data.get("image")
    if not isinstance(settings, dict) or not _is_count(index) or not _is_batch(settings, index):
        raise ExportError("the JSON does not say which image of which prompt this is")
    libraries = data.get("libraries")
    versions = {"promptattn": data.get("promptattn"), **(libraries if isinstance(libraries, dict) else {})}
    return Record(settings, index, {name: text for name, text in versions.items() if isinstance(text, str)})


def seed_of(settings: Mapping[str, Any], index: int) -> int:
    """The seed of image `index`: its own, or as many above the batch's."""
    seed = settings["seed"]
    return int(seed[index]) if isinstance(seed, list) else int(seed) + index


def text_of(texts: Any, index: int, per_prompt: int) -> str | None:
    """The prompt of image `index`; there are `per_prompt` images of each, or all have the only one."""
    if not texts:
        return None
    return str(texts[0] if len(texts) == 1 else texts[index // per_prompt])


def current_versions() -> dict[str, str]:
    """The versions at work here, as :attr:`Record.versions` has them."""
    return {"promptattn": __version__, **_libraries()}


@cache  # reading them takes as long as writing a small image
def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # imported from a folder of its own
            continue
    return found


def _is_batch(settings: Mapping[str, Any], index: int) -> bool:
    """Whether there is an image `index` in a batch of these settings."""
    prompts, negatives = settings.get("prompt"), settings.get("negative_prompt")
    count, seed = settings.get("num_images_per_prompt", 1), settings.get("seed")
    if not _is_texts(prompts) or not _is_count(count) or index >= len(prompts) * count:
        return False
    if negatives is not None and (not _is_texts(negatives) or len(negatives) not in (1, len(prompts))):
        return False
    seeds = seed if isinstance(seed, list) else [seed] * (index + 1)
    return len(seeds) > index and all(_is_integer(each) for each in seeds)


def _is_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _is_integer(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> TypeGuard[int]:
    return _is_integer(value) and 0 <= value < 2**31


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number
