"""From the recorders' pieces to records on disk, a folder for each pipeline call of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from promptattn.export.atomic import refuse_occupied
from promptattn.maps.capture import Capture, Relation
from promptattn.maps.recorder import Arrange
from promptattn.maps.stream import Stream
from promptattn.maps.stream_recorder import Piece
from promptattn.records import INDEX, RecordsPlan, RecordsWriter, Subject
from promptattn.run.recording.arranging import arrangement
from promptattn.run.text.script import Timeline

__all__ = ["Streaming"]


class Streaming:
    """Writes what stream recorders hand on.

    Attributes:
        capture, stream: what is recorded, and where to.
        folder: where the records of the pipeline call made last are; None before the first.

    Raises:
        ExportError: when the folder exists and may not be replaced.
    """

    def __init__(self, capture: Capture, stream: Stream, denoiser: str, meta: Mapping[str, Any]) -> None:
        self.capture, self.stream = capture, stream
        self.folder: Path | None = None
        self._first = Path(stream.folder).expanduser()
        self._denoiser = denoiser
        self._meta = dict(meta)
        self._begun = 0
        self._writer: RecordsWriter | None = None
        self._arrange: dict[Relation, Arrange | None] = {}
        refuse_occupied(self._first, stream.force, INDEX)

    def begin(
        self, plan: RecordsPlan, timeline: Timeline, *, images: tuple[int, ...], image_size: tuple[int, int], steps: int
    ) -> None:
        """Tell how much there will be, and make the folder for it; what was recorded before is written out first.

        images: the prompt of each image.

        Raises:
            ExportError: when the folder cannot be made, or the disk has not enough room.
        """
        self.close()
        self._begun += 1
        name = self._first.name
        self.folder = self._first if self._begun == 1 else self._first.with_name(f"{name}-{self._begun}")
        self._arrange = {each.relation: arrangement(each.relation, timeline, images) for each in plan.layers}
        subject = Subject(
            prompts=timeline.columns.prompts,
            prompt_index=images,
            image_size=image_size,
            patches=tuple((row, column) for row, column in self.capture.patches),
            heads=None if self.capture.heads is None else tuple(self.capture.heads),
            per_head=self.capture.per_head,
            steps=steps,
            denoiser=self._denoiser,
            meta=self._meta,
        )
        if self.stream.on_size is not None:
            self.stream.on_size(plan.size)
        self._writer = RecordsWriter(self.folder, self.stream, subject, plan)

    def take(self, piece: Piece) -> None:
        """Write what a layer recorded; moves it to the host, which on an accelerator waits for it."""
        assert self._writer is not None
        arrange = self._arrange[piece.relation]
        mass = piece.mass if arrange is None else arrange(piece.source, piece.mass)
        if piece.relation != "text->text":
            mass = mass.unflatten(-2, piece.grid)
        self._writer.add(
            piece.step,
            piece.relation,
            piece.layer,
            mass.to(getattr(torch, self.stream.dtype)).cpu().numpy(),
            source=piece.source,
            shares=None if piece.shares is None else tuple(piece.shares.tolist()),
        )

    def annotate(self, meta: Mapping[str, Any]) -> None:
        """Note what else is known of the pipeline call made last."""
        if self._writer is not None:
            self._writer.annotate(meta)

    def close(self) -> None:
        """Write out what is held, so that all that was recorded can be read."""
        if self._writer is not None:
            self._writer.flush()
