"""What a run is going to record, and so how many bytes that is, known before its first step."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from promptattn.maps.capture import Relation
from promptattn.maps.stream import RecordDtype
from promptattn.places import Grid

__all__ = ["LayerPlan", "RecordsPlan", "RecordsSize", "in_words"]


@dataclass(frozen=True)
class LayerPlan:
    """One relation of one layer.

    Attributes:
        shape: of each of its records; `[image, (head,) height, width, column]`, and for `text->text`
            `[image, (head,) column, column]`.
    """

    relation: Relation
    layer: str
    grid: Grid
    shape: tuple[int, ...]


@dataclass(frozen=True)
class RecordsSize:
    """How much the records of a run are.

    Attributes:
        bytes: of all masses together. The files' headers and the index come on top, some 400 bytes a record.
        records: how many tensors that is.
        steps, layers: of how many steps and layers.
    """

    bytes: int
    records: int
    steps: int
    layers: int

    @property
    def on_disk(self) -> int:
        """Bytes with room for headers and index."""
        return self.bytes + 512 * self.records + 2**16

    def __str__(self) -> str:
        return f"{in_words(self.bytes)} in {self.records} records ({self.steps} steps, {self.layers} layers)"


@dataclass(frozen=True)
class RecordsPlan:
    """Every record that a run is going to make.

    Attributes:
        layers: what is recorded in each prediction.
        predictions: of each step that is recorded, how many predictions: more than one where prompts are joined by AND
            or blended, and where the scheduler has the denoiser called more than once in a step.
        dtype: of the records.
    """

    layers: tuple[LayerPlan, ...]
    predictions: Mapping[int, int]
    dtype: RecordDtype

    @property
    def size(self) -> RecordsSize:
        """Steps x layers x heads x columns x places x bytes, added up."""
        predictions = sum(self.predictions.values())
        values = sum(prod(each.shape) for each in self.layers)
        return RecordsSize(
            bytes=predictions * values * np.dtype(self.dtype).itemsize,
            records=predictions * len(self.layers),
            steps=len(self.predictions),
            layers=len({each.layer for each in self.layers}),
        )


def in_words(size: int) -> str:
    """A number of bytes for people: `1.3 GB`."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"
