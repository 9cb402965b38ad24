"""The folder of a batch: one folder for each line that is made, and one manifest of all lines.

    out/
      batch.json             what the batch is of
      manifest.jsonl         what became of every line, in the order of the file; written at the end
      00001_un-gato-rojo/    what `promptattn generate` writes, and item.json
      .batch/                the lock, and while a run is at work what each process is writing

A line is done when its folder stands there. It gets there by being renamed, so it is whole whenever it is seen, and
holds in `item.json` what was asked for, so that it is known again. Lines that are made in one call are written to one
folder aside first, which is renamed in one go, so that a kill in between neither loses nor repeats any of them.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from promptattn import __version__
from promptattn.batch.items import Item
from promptattn.batch.lock import Lock
from promptattn.errors import ExportError
from promptattn.export.atomic import atomic_folder, reason
from promptattn.export.durable import sync_file

__all__ = ["HEADER", "ITEM", "MANIFEST", "BatchFolder"]

HEADER, MANIFEST, ITEM = "batch.json", "manifest.jsonl", "item.json"

_FORMAT, _VERSION = "promptattn-batch", 1
_MOST_SHOWN = 3


class BatchFolder:
    """Where a batch is written. Made by every process; only the first calls `claim`, `recover` and `finish`."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(os.path.realpath(Path(root).expanduser()))
        self.aside = self.root / ".batch"
        self.lock = Lock(self.aside / "lock")
        self._is_new = not self.root.exists()

    def claim(self) -> list[str]:
        """Make the folder, and lock it; returns what to warn of.

        Raises:
            ExportError: when it cannot be made, holds something else than a batch, or is being written to.
        """
        if self.root.exists() and not self.root.is_dir():
            raise ExportError(f"'{self.root}' is a file, not a folder; choose another name for the output folder.")
        with self.telling():
            self._refuse_strange()
            self.aside.mkdir(parents=True, exist_ok=True)
            if self.lock.take():
                return []
            return [
                f"the disk of '{self.root}' cannot lock a file: nothing but you keeps a second batch from writing there"
                " at the same time."
            ]

    def recover(self) -> None:
        """Finish or clear away what a run that was killed left behind."""
        with self.telling():
            for group in sorted(self.aside.glob("rank-*/group-*")):
                self._put_in_place(group)
            for path in self.aside.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != "lock":
                    path.unlink()

    def begin(self, source: str, request: dict[str, Any], batch: int, threads: int | None) -> list[str]:
        """Say what the batch is of; returns what to warn of where an earlier run was made otherwise."""
        earlier = self._header() or {}
        said = {
            "format": _FORMAT,
            "version": _VERSION,
            "promptattn": __version__,
            "prompts": source,
            "batch": batch,
            "threads": threads,
            "options": request,
        }
        with self.telling():
            self._write_file(self.root / HEADER, _json(said, indent=1))
        return [
            f"earlier lines were made with --{option} {earlier[option]}, the rest with {said[option]}: that may round"
            " differently."
            for option in ("batch", "threads")
            if earlier.get(option, said[option]) != said[option]
        ]

    def done(self, items: Iterable[Item], *, force: bool) -> dict[str, dict[str, Any]]:
        """What is there already: the `item.json` of each, by name.

        Raises:
            ExportError: for lines that were made with other options, unless they are to be made again with `force`; and
                where something that no batch has made stands in a line's place.
        """
        found: dict[str, dict[str, Any]] = {}
        changed: list[str] = []
        for item in items:
            self._refuse_foreign(self.root / item.name)
            there = self.read_item(item.name)
            if there is None:
                continue
            if there.get("digest") == item.digest:
                found[item.name] = there
            else:
                what = _difference(there.get("request", {}), item.request)
                changed.append(f"line {item.line.number} ({item.name}): {what}")
        if changed and not force:
            told = "".join(f"\n  {each}" for each in changed[:_MOST_SHOWN])
            more = f"\n  and {len(changed) - _MOST_SHOWN} more" if len(changed) > _MOST_SHOWN else ""
            count = "1 line was" if len(changed) == 1 else f"{len(changed)} lines were"
            raise ExportError(
                f"{count} made in '{self.root}' with other settings:{told}{more}\nChoose another folder with --out, go"
                " on with the settings as they were, or make these lines anew with --force."
            )
        return found

    def unlisted(self, items: Iterable[Item]) -> list[str]:
        """Folders of lines that the file no longer has."""
        names = {item.name for item in items}
        return sorted(path.parent.name for path in self.root.glob(f"*/{ITEM}") if path.parent.name not in names)

    def read_item(self, name: str) -> dict[str, Any] | None:
        """The `item.json` of a line, or None where it is not done."""
        return _read(self.root / name / ITEM)

    @contextmanager
    def group(self, rank: int, number: int) -> Iterator[Path]:
        """A folder to write the folders of one call into; on leaving without an error they are put in their places."""
        aside = self.aside / f"rank-{rank}" / f"group-{number:06d}"
        with self.telling():
            with atomic_folder(aside) as partial:
                yield partial
            self._put_in_place(aside)

    def finish(self, entries: Sequence[dict[str, Any]]) -> None:
        """Write the manifest of all lines, and clear away what the processes wrote for themselves."""
        with self.telling():
            text = "".join(f"{_json(entry)}\n" for entry in entries)
            self._write_file(self.root / MANIFEST, text)
            self.recover()

    def abandon(self) -> None:
        """Leave nothing behind of a run that could not begin; a folder with any line in it stays."""
        if next(self.root.glob(f"*/{ITEM}"), None) is not None or (self.root / MANIFEST).exists():
            return
        self.lock.release()
        shutil.rmtree(self.aside, ignore_errors=True)
        (self.root / HEADER).unlink(missing_ok=True)
        if self._is_new:
            with suppress(OSError):
                self.root.rmdir()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tell what the system says of the disk as one sentence."""
        try:
            yield
        except OSError as error:
            raise ExportError(reason(error, self.root)) from error

    def _put_in_place(self, group: Path) -> None:
        for path in sorted(group.iterdir()):
            goal = self.root / path.name
            self._refuse_foreign(goal)
            if goal.exists():  # made anew with --force
                goal.rename(self.aside / f"replaced-{secrets.token_hex(4)}")
            path.rename(goal)
        group.rmdir()

    def _refuse_strange(self) -> None:
        """Raise ExportError where the folder holds something else than a batch that can be gone on with."""
        # What claim() itself makes does not make it a batch's.
        if not self.root.is_dir() or all(path == self.aside for path in self.root.iterdir()):
            return
        header = self._header()
        if header is None or header.get("format") != _FORMAT:
            raise ExportError(
                f"'{self.root}' is not empty and holds no batch (no {HEADER} of one); choose another folder with --out."
            )
        if header.get("version") != _VERSION:
            raise ExportError(
                f"'{self.root}' holds a batch of version {header.get('version')!r}, and this promptattn takes"
                f" {_VERSION}; choose another folder with --out."
            )

    def _header(self) -> dict[str, Any] | None:
        return _read(self.root / HEADER)

    def _refuse_foreign(self, goal: Path) -> None:
        """Raise ExportError where something else stands in a line's place: it is not ours to replace."""
        if os.path.lexists(goal) and not (goal / ITEM).is_file():
            raise ExportError(
                f"'{goal}' is not a line of this batch (it holds no {ITEM}), so it is not replaced; move it elsewhere,"
                " or give the line another name."
            )

    def _write_file(self, file: Path, text: str) -> None:
        """Write a file, whole or not at all."""
        partial = self.aside / f"{file.name}.partial"
        # A lone surrogate, which a prompt may hold, has no UTF-8; its backslash form is what JSON writes for it.
        partial.write_bytes(text.encode("utf-8", "backslashreplace"))
        sync_file(partial)
        partial.replace(file)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def _read(file: Path) -> dict[str, Any] | None:
    """A file of JSON, or None where there is none or it is damaged."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _difference(there: dict[str, Any], now: dict[str, Any], prefix: str = "") -> str:
    """`steps 20 there, 30 now`, of all settings that differ."""
    told = []
    for key in sorted(there.keys() | now.keys()):
        old, new = there.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            told += [inner] if (inner := _difference(old, new, f"{prefix}{key}.")) else []
        elif old != new:
            told.append(f"{prefix}{key} {_shown(old)} there, {_shown(new)} now")
    return "; ".join(told)


def _shown(value: Any) -> str:
    text = "left out" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."
