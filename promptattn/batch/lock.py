"""Two batches never write into one folder at the same time: a lock that ends with the process, however it ends."""

import sys
from pathlib import Path
from typing import Any

from promptattn.errors import ExportError

__all__ = ["Lock"]


class Lock:
    """A lock on a file, held by this process until `release`, or until it dies: a kill leaves nothing to clear away.

    The first process of a run takes it alone; once it is shared, every process of the run can hold it, and as long as
    any of them lives no other run gets it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: Any = None

    def take(self) -> None:
        """Take it alone; raises ExportError when another run has it."""
        if not self._locked(shared=False):
            raise ExportError(
                f"another batch is being written to '{self._file.parent.parent}'; wait until it has ended, or choose"
                " another folder."
            )

    def share(self) -> None:
        """Hold it together with the other processes of this run."""
        if not self._locked(shared=True):
            raise ExportError(f"another batch has begun to write to '{self._file.parent.parent}' just now.")

    def release(self) -> None:
        """Let it go."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _locked(self, *, shared: bool) -> bool:
        if self._open is None:
            self._open = self._file.open("a+b")
        try:
            _lock(self._open, shared)
        except OSError:
            self.release()
            return False
        return True


if sys.platform == "win32":
    import msvcrt

    def _lock(file: Any, shared: bool) -> None:
        # There is no shared lock: the first process keeps its own, and the others go on without one.
        if not shared:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: Any, shared: bool) -> None:
        fcntl.flock(file.fileno(), (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
