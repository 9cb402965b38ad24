"""Writing records: gathered into shards as they come, with an index that never names what is not there."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from shutil import disk_usage
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptattn.errors import ExportError
from promptattn.export import atomic_folder
from promptattn.maps.capture import Relation
from promptattn.maps.stream import Stream
from promptattn.records.index import INDEX, Index, Record, Subject
from promptattn.records.plan import RecordsPlan, RecordsSize, in_words
from promptattn.records.shards import Shard, Shards

__all__ = ["RecordsWriter"]


class RecordsWriter:
    """The records of one pipeline call, on their way to a folder.

    The folder appears with an index of what is to come and no shards. It can be read at any time: what is in the index
    is whole.

    Args:
        folder: where they go.
        stream: the size of shards, and whether to replace older records.
        subject, plan: what they are of, and what there will be.

    Raises:
        ExportError: when the folder exists or cannot be written, or the disk has not enough room. Nothing is changed
            then.
    """

    def __init__(self, folder: Path, stream: Stream, subject: Subject, plan: RecordsPlan) -> None:
        self.folder = folder
        self._index = Index(subject, plan)
        self._dtype = np.dtype(plan.dtype)
        self._waiting: dict[str, Record] = {}
        self._numbers: Counter[tuple[int, str, str]] = Counter()
        with atomic_folder(folder, force=stream.force, marker=INDEX) as partial:
            _check_room(partial, folder, plan.size)
            self._index.write(partial)
        self._shards = Shards(folder, int(stream.shard_mib * 2**20))

    @property
    def held(self) -> int:
        """Bytes of records that are not written yet; at most a shard, between two calls."""
        return self._shards.held

    def add(
        self,
        step: int,
        relation: Relation,
        layer: str,
        mass: NDArray[Any],
        *,
        source: int = 0,
        shares: tuple[float, ...] | None = None,
    ) -> None:
        """Take what a layer recorded in one prediction of a step; nobody may write to `mass` afterwards.

        Raises:
            ExportError: when a shard or the index cannot be written. Those that were written before stay.
        """
        number = self._numbers[step, relation, layer]
        self._numbers[step, relation, layer] += 1
        name = f"{step}/{relation}/{layer}" + (f"/{number}" if number else "")
        self._waiting[name] = Record(name, "", step, relation, layer, source, shares, mass.shape)
        self._note(self._shards.add(name, np.ascontiguousarray(mass, self._dtype)))
        if self._numbers.total() == self._index.plan.size.records:
            self.flush()  # all that was to come is there

    def flush(self) -> None:
        """Write what is held, so that everything that was taken can be read."""
        self._note(self._shards.flush())

    def annotate(self, meta: Mapping[str, Any]) -> None:
        """Add to what is known of the run, and write what is held."""
        subject = self._index.subject
        self._index = replace(self._index, subject=replace(subject, meta={**subject.meta, **meta}))
        self.flush()
        self._index.write(self.folder)

    def _note(self, shards: list[Shard]) -> None:
        for shard in shards:
            records = tuple(replace(self._waiting.pop(name), shard=shard.file) for name in shard.tensors)
            self._index = replace(
                self._index, shards=(*self._index.shards, shard), records=self._index.records + records
            )
        if shards:
            self._index.write(self.folder)


def _check_room(partial: Path, folder: Path, size: RecordsSize) -> None:
    """Refuse what the disk has no room for; records that are going to be replaced count as room."""
    free = disk_usage(partial).free + sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
    if size.on_disk > free:
        raise ExportError(
            f"The records need {in_words(size.on_disk)}, and there is room for {in_words(free)} at '{folder}': record"
            " fewer words, layers, steps or heads (see Capture), take float16, or choose another disk."
        )
