"""Reading records, one at a time: the files are mapped into memory, and only what is asked for is read."""

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from promptattn.errors import CaptureError, ExportError
from promptattn.maps import HeatMaps, LayerMaps, PatchMaps, PromptInfo, TextAttention
from promptattn.maps.capture import Relation
from promptattn.maps.joint_text import joint_text_attention
from promptattn.records.index import Record, read_index
from promptattn.records.plan import RecordsSize
from promptattn.selection import Steps, check_steps, in_steps, match_layers

__all__ = ["Records", "open_records"]

Array = NDArray[np.float32]


def open_records(folder: str | PathLike[str]) -> "Records":
    """The records in a folder that `Capture(stream=folder)` wrote to, or is writing to.

    Raises `ExportError` where there are none, or of a format that this promptattn does not read.
    """
    return Records(folder)


class Records:
    """What a run recorded of each step, layer and head, as it stands on disk.

        records = promptattn.open_records("records")
        records.array(3, "mid_block.attentions.0.transformer_blocks.0.attn2", head=2)  # [image, height, width, column]
        records.maps(step=3)["cat"].array          # all that HeatMaps can, of one step
        records.maps(steps=(0.0, 0.4), layers="up_blocks.*", head=1)["cat"]

    Of a run that goes on, or was broken off, it is what was written until it was opened.

    Attributes:
        folder: where they are.
        prompts, prompt_index: as in :class:`promptattn.HeatMaps`; the columns of a prompt are the records' last axis.
        image_size: (height, width) of the images in pixels.
        patches: the picked places: the last axis of `image->image`.
        per_head: whether heads are apart.
        total_steps: the number of steps of the run, recorded or not.
        meta: what else is known of the run.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = Path(folder).expanduser()
        self._index = read_index(self.folder)
        subject = self._index.subject
        self.prompts: tuple[PromptInfo, ...] = subject.prompts
        self.prompt_index = subject.prompt_index
        self.image_size = subject.image_size
        self.patches = subject.patches
        self.per_head = subject.per_head
        self.total_steps = subject.steps
        self.meta: Mapping[str, Any] = subject.meta
        self._missing = self._index.missing
        self._found: dict[tuple[int, str, Relation], list[Record]] = {}
        for record in self._index.records:
            self._found.setdefault((record.step, record.layer, record.relation), []).append(record)
        self._mapped: tuple[str, Any] | None = None

    # What there is.

    @property
    def complete(self) -> bool:
        """Whether everything that was to be recorded is there; not while a run goes on, nor where it was broken off."""
        return not self._missing

    @property
    def planned(self) -> RecordsSize:
        """How much was to be recorded."""
        return self._index.plan.size

    @property
    def bytes(self) -> int:
        """Bytes of the masses that are there."""
        return sum(shard.bytes for shard in self._index.shards)

    @property
    def dtype(self) -> str:
        """How the masses are stored: `float32` or `float16`. They are read as float32."""
        return self._index.plan.dtype

    @property
    def steps(self) -> tuple[int, ...]:
        """The numbers of the steps of which everything is there that was to be recorded, counted from 0."""
        return tuple(step for step in sorted(self._index.plan.predictions) if step not in self._missing)

    @property
    def relations(self) -> tuple[Relation, ...]:
        """What was to be recorded, as in `Capture(relations=...)`."""
        return tuple(dict.fromkeys(each.relation for each in self._index.plan.layers))

    def layers(self, relation: Relation = "image->text") -> tuple[str, ...]:
        """The names of the layers that recorded a relation, in the order in which they run."""
        return tuple(dict.fromkeys(record.layer for record in self if record.relation == relation))

    def heads(self, layer: str) -> tuple[int, ...]:
        """The numbers of the heads that a layer kept apart; () where they were averaged over."""
        if not self.per_head:
            return ()
        count = next(each.shape[1] for each in self._index.plan.layers if each.layer == layer)
        return self._index.subject.heads or tuple(range(count))

    def __len__(self) -> int:
        """The number of records that are there."""
        return len(self._index.records)

    def __iter__(self) -> Iterator[Record]:
        """Every record that is there, in the order in which they were made; `tensor` reads one."""
        return iter(self._index.records)

    # Reading.

    def tensor(self, record: Record, *, head: int | None = None) -> NDArray[Any]:
        """The masses of one record as they are stored; of one head only, if said, so without the axis of heads.

        Raises `CaptureError` for a head that was not recorded apart, and `ExportError` where the shard is gone or
        damaged.
        """
        at = None if head is None else self._place_of(head, record.layer)
        try:
            part = self._shard(record.shard).get_slice(record.name)
            array: NDArray[Any] = part[:] if at is None else part[:, at]
        except (OSError, SafetensorError) as error:
            raise ExportError(f"'{self.folder / record.shard}' cannot be read: {error}.") from error
        return array

    def array(self, step: int, layer: str, relation: Relation = "image->text", *, head: int | None = None) -> Array:
        """What one layer recorded in one step, a mean over its predictions by their shares.

        Float32 `[image, (head,) height, width, column]`; of `image->image` the last axis are the patches, and of
        `text->text` it is `[image, (head,) column, column]`. With `head` there is no axis of heads.

        Raises:
            CaptureError: when that step, layer, relation or head was not recorded; says what was.
        """
        if (step, layer, relation) not in self._found:
            raise CaptureError(self._why_nothing(step, layer, relation))
        return self._mean(self._found[step, layer, relation], head)

    def maps(
        self,
        step: int | None = None,
        *,
        steps: Steps = None,
        layers: str | Iterable[str] | None = None,
        head: int | None = None,
    ) -> HeatMaps:
        """The maps of one step, of a choice of steps, or of all: means over those steps, and over heads unless said.

        Reads one record after the other, and holds one layer's. Attention between words is that of joint attention; in
        the text encoders there are no steps, and it is in `run.maps` alone.

        Args:
            step: one step, counted from 0.
            steps: several, as in `Capture(steps=...)`.
            layers: names of layers, beginnings of names, or globs; None is all.
            head: one head, which every one of those layers has.

        Raises:
            CaptureError: when nothing of that was recorded.
            ConfigError: for a choice that cannot be.
        """
        check_steps(steps, "maps(steps=...)")
        wanted = [each for each in self if step in (None, each.step) and in_steps(steps, each.step, self.total_steps)]
        if not wanted:
            raise CaptureError(self._why_nothing(step if step is not None else steps))
        names = list(dict.fromkeys(each.layer for each in wanted))
        chosen = set(match_layers(names, layers if layers is None or isinstance(layers, str) else [*layers], "layers"))
        found: dict[tuple[Relation, str], list[Record]] = {}
        for each in wanted:
            if each.layer in chosen:
                found.setdefault((each.relation, each.layer), []).append(each)
        means = {key: self._over_heads(self._mean(records, head), head) for key, records in found.items()}
        return HeatMaps(
            prompts=self.prompts,
            records=tuple(self._layers(means, "image->text")),
            image_size=self.image_size,
            prompt_index=self.prompt_index,
            patches=tuple(self._patches(means)),
            sources=tuple(self._layers(means, "text->image")),
            text_attention=tuple(self._text_attention(means)),
            meta={**self.meta, "steps": self.total_steps},
        )

    # From records to maps.

    def _layers(self, means: Mapping[tuple[Relation, str], Array], relation: Relation) -> Iterator[LayerMaps]:
        for (of, layer), mass in means.items():
            if of == relation:
                yield LayerMaps(layer, _grid(mass), mass)

    def _patches(self, means: Mapping[tuple[Relation, str], Array]) -> Iterator[PatchMaps]:
        for (of, layer), mass in means.items():
            if of == "image->image":
                for at, patch in enumerate(self.patches):
                    yield PatchMaps(layer, _grid(mass), patch, np.ascontiguousarray(mass[..., at]))

    def _text_attention(self, means: Mapping[tuple[Relation, str], Array]) -> Iterator[TextAttention]:
        between = [mass for (of, _), mass in means.items() if of == "text->text"]
        if between:
            mass = np.stack(between, axis=1)
            yield from joint_text_attention(mass, self.prompts, self.prompt_index, self._index.subject.denoiser)

    def _over_heads(self, mass: Array, head: int | None) -> Array:
        return mass.mean(axis=1) if self.per_head and head is None else mass

    def _mean(self, records: Iterable[Record], head: int | None) -> Array:
        """The mean over predictions, each by its shares: what a recorder that had summed them up would give."""
        sums: dict[tuple[int, tuple[float, ...] | None], tuple[Array, int]] = {}
        for record in records:
            mass = self.tensor(record, head=head).astype(np.float32, copy=False)
            key = record.source, record.shares
            before, calls = sums.get(key, (None, 0))
            sums[key] = mass if before is None else np.add(before, mass, out=before), calls + 1
        total: Array | None = None
        count: Array | int = 0
        for (_, shares), (mass, calls) in sums.items():
            share = 1 if shares is None else np.array(shares, np.float32).reshape(-1, *[1] * (mass.ndim - 1))
            part = mass if shares is None else mass * share
            total = part if total is None else total + part
            count = count + calls * share
        assert total is not None
        mean: Array = total / count
        return mean

    # The files.

    def _shard(self, file: str) -> Any:
        if self._mapped is None or self._mapped[0] != file:
            self._mapped = file, safe_open(self.folder / file, framework="numpy")
        return self._mapped[1]

    def _place_of(self, head: int, layer: str) -> int:
        heads = self.heads(layer)
        if not heads:
            raise CaptureError("Heads were not kept apart in these records; ask for Capture(per_head=True) first.")
        if head not in heads:
            kept = ", ".join(map(str, heads))
            raise CaptureError(f"Head {head} was not recorded in layer {layer}. Recorded: {kept}.")
        return heads.index(head)

    def _why_nothing(self, step: object, layer: str | None = None, relation: Relation | None = None) -> str:
        """Which of what was asked for is not there."""
        if relation is not None and relation not in self.relations:
            return f"Nothing was recorded of {relation}; Capture(relations=...) had {', '.join(self.relations)}."
        if relation is not None and layer not in self.layers(relation):
            there = ", ".join(self.layers(relation)) or "none yet"
            return f"Layer {layer!r} did not record {relation}. Recorded: {there}."
        there = ", ".join(map(str, sorted({record.step for record in self}))) or "none yet"
        return f"There are no records of step {step} in '{self.folder}'. Recorded: {there}."


def _grid(mass: Array) -> tuple[int, int]:
    return int(mass.shape[1]), int(mass.shape[2])
