"""The index of a folder of records: what was to be recorded, of what, and which shard holds which record.

It is `records.json`, rewritten as a whole after each shard, so that at any moment it names complete shards only. The
tensors' names tell the same by themselves: `<step>/<relation>/<layer>`, and `.../<n>` where a step has more than one
prediction. Newer versions only add to it.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptattn import __version__
from promptattn.errors import ExportError
from promptattn.export.arrays import build_prompt, describe_prompt
from promptattn.maps import PromptInfo
from promptattn.maps.capture import Relation
from promptattn.records.plan import LayerPlan, RecordsPlan
from promptattn.records.shards import Shard, replace_file

__all__ = ["INDEX", "Index", "Record", "Subject", "read_index"]

INDEX = "records.json"
"""The name of the file; it also shows that a folder holds records, so that replacing it destroys nothing else."""

FORMAT = "promptattn-records"
VERSION = 1

_AXES = {
    "image->text": "image, (head,) height, width, column: how much each place attends to each token",
    "text->image": "image, (head,) height, width, column: how much each token attends to each place",
    "image->image": "image, (head,) height, width, patch: how much each place attends to each patch",
    "text->text": "image, (head,) column, column: how much each token attends to each token",
}


@dataclass(frozen=True)
class Record:
    """One tensor: what one layer recorded of one relation in one prediction of a step.

    Attributes:
        name: of the tensor in its shard.
        shard: name of the file, or "" while it is not written.
        source: which of the predictions of the step it is, or which text; several are one step's maps by their shares.
        shares: how much it counts for each image; None is 1 for all.
        shape: see :class:`LayerPlan`.
    """

    name: str
    shard: str
    step: int
    relation: Relation
    layer: str
    source: int
    shares: tuple[float, ...] | None
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Subject:
    """What the records of a run are of.

    Attributes:
        prompts: as in :class:`promptattn.HeatMaps`; their `columns` are the records' last axis.
        prompt_index: for each image, which of the prompts it was made from.
        image_size: (height, width) of the images in pixels.
        patches: places of the image as (row, column) shares of its height and width: the last axis of `image->image`.
        heads: the numbers of the heads along the axis of heads, or that are averaged over; None is all of a layer's.
        per_head: whether there is an axis of heads.
        steps: the number of steps of the run, recorded or not.
        denoiser: `unet` or `transformer`.
        meta: what else is known of the run; values that JSON can hold.
    """

    prompts: tuple[PromptInfo, ...]
    prompt_index: tuple[int, ...]
    image_size: tuple[int, int]
    patches: tuple[tuple[float, float], ...]
    heads: tuple[int, ...] | None
    per_head: bool
    steps: int
    denoiser: str
    meta: Mapping[str, Any]


@dataclass(frozen=True)
class Index:
    """Everything about records but the masses; see the module."""

    subject: Subject
    plan: RecordsPlan
    shards: tuple[Shard, ...] = ()
    records: tuple[Record, ...] = ()

    @property
    def missing(self) -> dict[int, int]:
        """How many of the planned records of each step are not there; empty when the records are complete."""
        there = Counter(record.step for record in self.records)
        planned = {step: count * len(self.plan.layers) for step, count in self.plan.predictions.items()}
        return {step: count - there[step] for step, count in planned.items() if there[step] < count}

    def write(self, folder: Path) -> None:
        """Write it into the folder, in the place of an older one; raises `ExportError` where that cannot be done."""
        replace_file(folder / INDEX, _text(self._described()))

    def _described(self) -> dict[str, Any]:
        subject, plan = self.subject, self.plan
        return {
            "format": FORMAT,
            "version": VERSION,
            "promptattn": __version__,
            "complete": not self.missing,
            "unit": "attention probability after weighting, in [0, 1]",
            "axes": {relation: _AXES[relation] for relation in dict.fromkeys(each.relation for each in plan.layers)},
            "dtype": plan.dtype,
            "bytes": {"planned": plan.size.bytes, "written": sum(shard.bytes for shard in self.shards)},
            "words": [[word.text for word in prompt.words] for prompt in subject.prompts],
            **vars(subject),
            "prompts": [describe_prompt(prompt) for prompt in subject.prompts],
            "meta": dict(subject.meta),
            "predictions": dict(plan.predictions),
            "layers": [vars(each) for each in plan.layers],
            "shards": [{"file": shard.file, "bytes": shard.bytes} for shard in self.shards],
            "records": [vars(record) for record in self.records],
        }


def _text(data: Mapping[str, Any]) -> bytes:
    """As JSON that can be read by eye: each key has a line, and each entry of a list of objects."""

    def written(value: Any) -> str:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n " + ",\n ".join(map(written_short, value)) + "\n]"
        return written_short(value)

    def written_short(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    try:
        text = "{\n" + ",\n".join(f"{json.dumps(key)}: {written(value)}" for key, value in data.items()) + "\n}\n"
    except (TypeError, ValueError) as error:
        raise ExportError(f"The records' meta holds a value that JSON cannot hold: {error}.") from error
    # A lone surrogate, which a prompt may hold, has no UTF-8; its backslash form is what JSON writes for it.
    return text.encode("utf-8", "backslashreplace")


def read_index(folder: Path) -> Index:
    """The index of a folder of records; raises `ExportError` where there is none that can be read."""
    file = folder / INDEX
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExportError(f"There are no records at '{folder}': it holds no {INDEX}.") from None
    except (OSError, ValueError) as error:
        raise ExportError(f"'{file}' cannot be read: {error}.") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or data.get("version") != VERSION:
        found = data if isinstance(data, dict) else {}
        raise ExportError(
            f"'{file}' is of format {found.get('format')!r} version {found.get('version')!r}; "
            f"this promptattn reads {FORMAT!r} version {VERSION}."
        )
    try:
        return _built(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ExportError(f"'{file}' is no index of records: {type(error).__name__}: {error}.") from error


def _built(data: Mapping[str, Any]) -> Index:
    subject = Subject(
        prompts=tuple(build_prompt(prompt) for prompt in data["prompts"]),
        prompt_index=tuple(data["prompt_index"]),
        image_size=_pair(data["image_size"]),
        patches=tuple(_pair(patch) for patch in data["patches"]),
        heads=None if data["heads"] is None else tuple(data["heads"]),
        per_head=data["per_head"],
        steps=data["steps"],
        denoiser=data["denoiser"],
        meta=data["meta"],
    )
    plan = RecordsPlan(
        layers=tuple(
            LayerPlan(each["relation"], each["layer"], _pair(each["grid"]), tuple(each["shape"]))
            for each in data["layers"]
        ),
        predictions={int(step): count for step, count in data["predictions"].items()},
        dtype=data["dtype"],
    )
    shards: dict[str, list[str]] = {each["file"]: [] for each in data["shards"]}
    records = []
    for each in data["records"]:
        shares = None if each["shares"] is None else tuple(each["shares"])
        values = {**each, "shares": shares, "shape": tuple(each["shape"])}
        records.append(Record(**{key: values[key] for key in Record.__dataclass_fields__}))
        shards[each["shard"]].append(each["name"])
    sizes = {each["file"]: each["bytes"] for each in data["shards"]}
    return Index(
        subject, plan, tuple(Shard(file, tuple(names), sizes[file]) for file, names in shards.items()), tuple(records)
    )


def _pair(values: Any) -> Any:
    first, second = values
    return first, second
