"""What a page says about the run, and about what was not recorded in it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from promptattn.maps import HeatMaps

__all__ = ["Missing", "facts", "missing"]


class Missing(NamedTuple):
    """Something that a page could show had it been recorded, and how to record it: in Python, and as a setting."""

    what: str
    capture: str
    setting: str


def missing(maps: HeatMaps) -> list[Missing]:
    """What was not recorded of this image."""
    found = []
    if not maps.records:
        looked = 'Capture(relations=["image->text"])', "capture.relations=[image->text]"
        found.append(Missing("Where words are looked at", *looked))
    if any(record.per_step is None for record in maps.records):
        found.append(Missing("Step by step", "Capture(per_step=True)", "capture.per_step=true"))
    if any(record.per_head is None for record in maps.records):
        found.append(Missing("Head by head", "Capture(per_head=True)", "capture.per_head=true"))
    if not maps.patches:
        patches = Missing("From place to place", "Capture(patches=[(0.50, 0.50)])", "capture.patches=[[0.50, 0.50]]")
        found.append(patches)
    if not maps.text_attention:
        relations = 'Capture(relations=["image->text", "text->text"])', "capture.relations=[image->text, text->text]"
        found.append(Missing("Between words", *relations))
    return found


def facts(maps: HeatMaps) -> list[tuple[str, str]]:
    """The image, its layers and the run's settings, as names and values: what tells two images apart first."""
    rows = [*_own(maps.meta), ("image", f"{maps.image_size[1]} × {maps.image_size[0]} pixels")]
    if maps.records:
        grids = sorted({layer.grid for layer in maps.records}, reverse=True)
        sizes = ", ".join(f"{width} × {height}" for height, width in grids)
        rows += [
            ("layers", f"{len(maps.records)} at {sizes} places, combined by {maps.rule}"),
            ("unit", "attention probability after weighting, mean over heads and steps"),
        ]
    told = ((key.replace("_", " "), _text(value)) for key, value in maps.meta.items() if key not in _TOLD)
    return rows + [(name, text) for name, text in told if text]


_TOLD = {
    *("prompt", "weighted_prompts", "negative_prompt", "seed", "image", "num_images_per_prompt"),
    *("height", "width", "num_inference_steps"),
}
"""What `facts` says of the image alone, or in other words (`steps`)."""


def _own(meta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """This image's part of what the settings say of the whole batch."""
    index, each = meta.get("image", 0), meta.get("num_images_per_prompt") or 1
    written = meta.get("prompt") or meta.get("weighted_prompts")
    for name, texts in (("prompt", written), ("negative prompt", meta.get("negative_prompt"))):
        if isinstance(texts, list | tuple) and len(texts) > 1:
            texts = texts[index // each : index // each + 1]
        if text := _text(texts):
            yield name, text
    seed = meta.get("seed")
    if isinstance(seed, int):
        yield "seed", str(seed + index)
    elif text := _text(seed[index : index + 1] if isinstance(seed, list | tuple) else seed):
        yield "seed", text


def _text(value: Any) -> str:
    """A setting in a line; nothing for what is not set. Of something with a name (the scheduler) that says enough."""
    if isinstance(value, Mapping) and "name" in value:
        return str(value["name"])
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {text}" for key, each in value.items() if (text := _text(each)))
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return "" if value is None else str(value)
