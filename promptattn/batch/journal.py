"""The manifest of one process: a line for everything that it finished, written as soon as it is finished."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from promptattn.export.durable import sync_open

__all__ = ["Journal", "read_journals"]


class Journal:
    """Lines of JSON, each on the disk before the next thing is begun."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("ab")

    def add(self, entry: dict[str, Any]) -> None:
        """Write one entry; raises OSError where the disk does not take it."""
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        sync_open(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_journals(folder: Path) -> Iterator[dict[str, Any]]:
    """The entries of all processes; a last line that a kill cut short is none."""
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_bytes().split(b"\n"):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry
