"""Recordings of all cases, made in batches and kept in a folder, so that a run that was stopped goes on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from promptattn.shapes.evaluation.cases import Case
from promptattn.shapes.evaluation.peers import peer
from promptattn.shapes.evaluation.recording import Recording, record, record_absent

__all__ = ["BATCH", "Session"]

BATCH = 12


class Session:
    """One pipeline, its settings, and the folder in which its recordings stand.

    Attributes:
        options: keyword arguments of every pipeline call.
        layers: the attention layers that are recorded, by name or glob; None is all.
        told: called with one line each time a batch is done.
    """

    def __init__(
        self,
        pipe: Any,
        options: Mapping[str, Any],
        folder: Path,
        *,
        layers: str | None = None,
        told: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._pipe = pipe
        self._options = dict(options)
        self._folder = folder
        self._layers = layers
        self._told = told

    def recordings(self, cases: Sequence[Case]) -> list[Recording]:
        """One recording per case."""
        return self._all(cases, "case", lambda part: record(self._pipe, part, self._options, self._layers))

    def absent(self, cases: Sequence[Case]) -> list[Recording]:
        """One recording per case with a noun and a colour that are not in its scene."""
        return self._all(cases, "absent", lambda part: record_absent(self._pipe, part, self._options, self._layers))

    def ask(self, name: str, cases: Sequence[Case], recordings: Sequence[Recording]) -> list[Recording]:
        """The recordings with a peer's maps beside their own, and under `different` how far its images are off."""
        asked = []
        for case, recording in zip(cases, recordings, strict=True):
            if name not in recording.peer and recording.words:
                words = [(word.text, word.occurrence) for word in recording.words]
                image, maps = peer(name)(self._pipe, case.prompt, words, case.seed, self._options)
                apart = int(np.abs(image.astype(np.int16) - recording.image).max())
                recording = replace(
                    recording,
                    peer={**recording.peer, name: maps},
                    different={**recording.different, name: apart},
                )
                recording.save(self._path("case", case))
                self._told(f"{name}: {case.seed}")
            asked.append(recording)
        return asked

    def _all(
        self, cases: Sequence[Case], kind: str, make: Callable[[Sequence[Case]], list[Recording]]
    ) -> list[Recording]:
        missing = [case for case in cases if not self._path(kind, case).is_file()]
        for first in range(0, len(missing), BATCH):
            part = missing[first : first + BATCH]
            for case, recording in zip(part, make(part), strict=True):
                recording.save(self._path(kind, case))
            self._told(f"{kind}: {first + len(part)} of {len(missing)}")
        return [Recording.load(self._path(kind, case)) for case in cases]

    def _path(self, kind: str, case: Case) -> Path:
        return self._folder / f"{kind}_{case.seed}.npz"
