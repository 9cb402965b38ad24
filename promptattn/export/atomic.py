"""A folder that appears whole or not at all, also when the process is killed or the machine stops.

Everything is written under a temporary name beside the goal, and renamed into place when it is complete. What stood
there before is kept unless it is to be replaced, and then until the very end. On an error, a full disk or an interrupt,
what was written so far is removed again.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from os import PathLike
from pathlib import Path

from promptattn.errors import ExportError
from promptattn.export.durable import sync_folder

__all__ = ["MARKER", "atomic_folder", "parents", "reason", "refuse_occupied"]

MARKER = "maps.json"
"""The file that shows that a folder is an export, so that replacing it destroys nothing else."""


@contextmanager
def atomic_folder(
    folder: str | PathLike[str], *, force: bool = False, marker: str | tuple[str, ...] = MARKER
) -> Iterator[Path]:
    """Give a temporary folder to write into; on leaving without an error it becomes `folder`.

    Enter it before long work: a folder that exists or cannot be written to is refused at once.

    Args:
        folder: where the result shall stand. Missing parents are made (and removed again on failure).
        force: replace an existing folder. Only one that holds `marker` is replaced: it was written by promptattn.
        marker: name, or names, of a file that such a folder holds.

    Raises:
        ExportError: if `folder` exists and may not be replaced, or if anything cannot be written.
    """
    goal = Path(folder).expanduser()
    goal = Path(os.path.realpath(goal))  # a link to a folder stays a link, to the new content
    refuse_occupied(goal, force, marker)
    partial = goal.with_name(f".{goal.name}.partial-{secrets.token_hex(4)}")
    with ExitStack() as stack:
        with _told(goal):
            stack.enter_context(parents(goal.parent))
        try:
            with _told(goal):
                partial.mkdir()
            with _told(goal, within=partial):
                yield partial
            with _told(goal):
                sync_folder(partial)
                _swap(partial, goal)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def refuse_occupied(goal: Path, force: bool, marker: str | tuple[str, ...] = MARKER) -> None:
    """Raise the `ExportError` that `atomic_folder` raises where there is something that may not be replaced."""
    markers = (marker,) if isinstance(marker, str) else marker
    with _told(goal):
        if not goal.exists():
            return
        if not goal.is_dir():
            raise ExportError(f"'{goal}' is a file, not a folder; choose another name for the output folder.")
        if not any(goal.iterdir()):
            return
        if not force:
            raise ExportError(
                f"'{goal}' already exists and is kept; choose another folder, or replace it with --force (force=True)."
            )
        if not any((goal / marker).is_file() for marker in markers):
            raise ExportError(
                f"'{goal}' was not written by promptattn (it holds no {' or '.join(markers)}), so it is not replaced; "
                "choose another folder, or empty this one yourself."
            )


@contextmanager
def parents(folder: Path) -> Iterator[None]:
    """Make a folder and all above it that are missing; on an error they are removed again, as far as they are empty."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    made: list[Path] = []
    try:
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
            made.append(each)
        yield
    except BaseException:
        for each in reversed(made):
            with suppress(OSError):
                each.rmdir()
        raise


def _swap(partial: Path, goal: Path) -> None:
    """Put the complete folder in place; the old one goes only after that, and comes back if that fails."""
    if not goal.exists():
        partial.rename(goal)
        return
    old = goal.with_name(f".{goal.name}.replaced-{secrets.token_hex(4)}")
    goal.rename(old)
    try:
        partial.rename(goal)
    except BaseException:
        old.rename(goal)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _told(goal: Path, within: Path | None = None) -> Iterator[None]:
    """Tell an operating-system error as one sentence about the output folder.

    With `within`, only errors about files in that folder, or about the disk itself: what else happens while a folder is
    being filled (a model that is not found, say) is not about the folder and passes through.
    """
    try:
        yield
    except OSError as error:
        if within is not None and error.errno not in _DISK and str(within) not in str(error.filename or ""):
            raise
        raise ExportError(f"{reason(error, goal)} Nothing was left behind.") from error


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}


def reason(error: OSError, goal: Path) -> str:
    """An operating-system error as one sentence about what could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: '{goal}' could not be written; free some space or choose another disk."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"No permission to write '{goal}'; choose a folder that you may write to."
    if error.errno == errno.ENOTDIR:
        return f"'{goal}' cannot be a folder: a part of its path is a file."
    if error.errno == errno.ENAMETOOLONG:
        return f"The name '{goal.name[:40]}...' is too long for a folder; choose a shorter one."
    return f"'{goal}' could not be written: {error.strerror or error}."
