"""Results on disk: one JSON line each, appended as they come, so that nothing is ever done twice."""

import json
import os
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from promptattn.errors import ConfigError
from promptattn.shapes.study.cells import Effect

__all__ = ["Key", "Store", "write_whole"]


@dataclass(frozen=True)
class Key:
    """What a result is of: what was done to which word of which case."""

    effect: Effect
    target: str
    case: int


class Store:
    """A folder with `results.jsonl`, and `settings.json`, which says what the results were made with.

    Several processes may append to one folder: every line is a single write at the file's end.

    Raises:
        ConfigError: when the folder holds results of other settings; names the first that differs.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        self._lines = folder / "results.jsonl"
        known = folder / "settings.json"
        if settings is not None:
            _agree(known, json.loads(json.dumps(settings)))
        if not known.is_file():
            raise ConfigError(
                f"the folder {folder} holds no results of this study; make them first, without --report-only."
            )
        self.settings: dict[str, Any] = json.loads(known.read_text(encoding="utf-8"))
        self._results: dict[Key, dict[str, float]] = {}
        self.reload()

    def reload(self) -> None:
        """Read what has been written since, by this process or another."""
        text = self._lines.read_bytes().decode("utf-8", "replace") if self._lines.is_file() else ""
        for line in text.split("\n"):
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # A line that a kill cut off; its result is made again.
            self._results[Key(Effect.read(entry["effect"]), entry["target"], entry["case"])] = entry["measures"]

    def __contains__(self, key: Key) -> bool:
        return key in self._results

    def __getitem__(self, key: Key) -> dict[str, float]:
        return self._results[key]

    def __len__(self) -> int:
        return len(self._results)

    def append(self, key: Key, measures: Mapping[str, float]) -> None:
        """Write one result down. Measures that are not finite are left out: there was nothing to measure."""
        kept = {name: round(float(value), 6) for name, value in measures.items() if isfinite(value)}
        entry = {"effect": astuple(key.effect), "target": key.target, "case": key.case, "measures": kept}
        line = json.dumps(entry) + "\n"
        handle = os.open(self._lines, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            if _cut_off(handle):
                line = "\n" + line
            os.write(handle, line.encode())
        finally:
            os.close(handle)
        self._results[key] = kept


def _cut_off(handle: int) -> bool:
    """Whether the file ends inside a line."""
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"


def write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """JSON that another process reads whole or not at all."""
    partial = path.with_suffix(f".{os.getpid()}.part")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _agree(known: Path, settings: dict[str, Any]) -> None:
    if not known.is_file():
        known.parent.mkdir(parents=True, exist_ok=True)
        write_whole(known, settings)
        return
    before = json.loads(known.read_text(encoding="utf-8"))
    for name in sorted({*before, *settings}):
        if before.get(name) != settings.get(name):
            raise ConfigError(
                f"the folder {known.parent} holds results made with {name}={before.get(name)!r}, and this run has"
                f" {settings.get(name)!r}; choose another folder, or remove that one."
            )
