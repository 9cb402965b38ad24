"""Files that are on the disk, and not only on their way there, before they are given the name under which they count.

Without that a machine that stops can leave the new name with empty files: many file systems keep the order of renames,
and not that of a rename and of what was written before.
"""

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["sync_file", "sync_folder", "sync_open"]

_AT_ONCE = 8  # the file system then writes the journal for many at a time: 20 times as fast as one after the other
_UNASKABLE = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}  # of file systems that have no such thing


def sync_folder(folder: Path) -> None:
    """Wait until a folder and everything in it is on the disk; raises OSError where it does not get there."""
    inside = [path for path in folder.rglob("*") if not path.is_symlink()]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(sync_file, [path for path in inside if path.is_file()]))
        if os.name != "nt":  # which opens no folders
            list(pool.map(_synced(os.O_RDONLY), [folder, *(path for path in inside if path.is_dir())]))


def sync_file(file: Path) -> None:
    """Wait until a file is on the disk; raises OSError where it does not get there."""
    _synced(os.O_RDWR)(file)


def sync_open(number: int) -> None:
    """Wait until what was written to an open file is on the disk; raises OSError where it does not get there."""
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in _UNASKABLE:
            raise


def _synced(flags: int) -> Callable[[Path], None]:
    def sync(path: Path) -> None:
        number = os.open(path, flags)
        try:
            sync_open(number)
        finally:
            os.close(number)

    return sync
