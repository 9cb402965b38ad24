"""`read_image`: what an image says of how it was made, whoever made it."""

import json
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

from promptattn.errors import ExportError
from promptattn.export.metadata.carriers import PARAMETERS, Texts, read_texts
from promptattn.export.metadata.parameters import parse_parameters
from promptattn.export.metadata.record import Record, current_versions, read_record
from promptattn.export.metadata.translation import Note, from_a1111

__all__ = ["ImageMetadata", "read_image"]


@dataclass(frozen=True)
class ImageMetadata:
    """What an image says of how it was made. All of it is text from a file: nothing in it was opened or run.

    Attributes:
        prompt, negative_prompt: as they were typed; the negative prompt is None where there was none.
        settings: what makes this image alone, by the names of :attr:`promptattn.Generation.settings`; only what the
            image says. From A1111's text, values are checked; from our own JSON, they are checked when they are used.
        source: `promptattn`, our own JSON, which makes the image again to the bit; or `a1111`, a `parameters` text,
            which makes one as near as it can be.
        raw: the text that was read, JSON or `parameters`.
        diagnostics: what cannot be done as the image says, or makes a difference, one by one.
    """

    prompt: str
    negative_prompt: str | None
    settings: dict[str, Any]
    source: Literal["promptattn", "a1111"]
    raw: str
    diagnostics: tuple[Note, ...] = ()


def read_image(path: str | PathLike[str]) -> ImageMetadata:
    """Read how an image was made, from a PNG, JPEG or WebP that promptattn or A1111 wrote.

    Our own JSON is preferred where an image has both.

    Raises:
        ExportError: when the file is no such image or cannot be read, and when it says nothing that can be read:
            no text at all, one of more than a million characters, or that of another tool.
    """
    texts = read_texts(path)
    notes: list[Note] = []
    if texts.record is not None:
        try:
            return _from_record(read_record(texts.record), texts.record)
        except ExportError as error:
            if texts.parameters is None:
                raise ExportError(f"'{path}': what promptattn wrote into it cannot be read: {error}.") from error
            notes.append(Note("damaged-json", f"{error}; the image is read by its parameters text"))
    if texts.parameters is None or _other_tool(texts):
        raise ExportError(f"'{path}' {_other_tool(texts) or 'says nothing of how it was made'}.")
    return _from_parameters(texts.parameters, notes)


def _from_record(record: Record, raw: str) -> ImageMetadata:
    settings = record.narrowed()
    notes = []
    if record.images > 1:
        notes.append(
            Note(
                "batch",
                f"the image is number {record.index} of a batch of {record.images}, and is made alone, which rounds"
                f" differently by a level at most{_whole_batch(record)}",
                "info",
            )
        )
    here = current_versions()
    for name, version in record.versions.items():
        if name in here and here[name] != version:
            said = f"the image was made with {name} {version[:20]}, and {name} {here[name]} may round differently"
            notes.append(Note("version", said, "info"))
    return ImageMetadata(settings["prompt"], settings["negative_prompt"], settings, "promptattn", raw, tuple(notes))


def _whole_batch(record: Record) -> str:
    seed = record.settings["seed"]
    if len(record.settings["prompt"]) > 1 or isinstance(seed, list):
        return ""
    return f"; --seed {seed} --images {record.images} makes the batch again, to the bit"


def _from_parameters(text: str, notes: list[Note]) -> ImageMetadata:
    settings, found = from_a1111(parse_parameters(text))
    return ImageMetadata(settings["prompt"], settings["negative_prompt"], settings, "a1111", text, (*notes, *found))


def _other_tool(texts: Texts) -> str | None:
    """What to say of an image whose text is that of a tool other than A1111; None if it is not."""
    keys = texts.others.keys()
    if texts.parameters is not None:
        if not texts.parameters.lstrip().startswith("{") or not _is_json(texts.parameters):
            return None
        return "holds JSON of another tool (such as Fooocus or SwarmUI) as its parameters, not A1111's text"
    if keys & {"workflow", "prompt"}:
        return (
            "is a picture of ComfyUI: it holds a workflow, a graph of nodes, and no parameters text: open it in ComfyUI"
            " and give prompt and settings here yourself"
        )
    if texts.others.get("Software") == "NovelAI" or "Comment" in keys:
        return f"holds a comment of another tool, and no text under '{PARAMETERS}'"
    return None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
