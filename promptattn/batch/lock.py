"""Two batches never write into one folder at the same time: a lock that ends with the process, however it ends."""

import errno
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from promptattn.errors import ExportError

__all__ = ["Lock"]

_TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


class Lock:
    """A lock on a file, held by this process until `release`, or until it dies: a kill leaves nothing to clear away.

    The first process of a run takes it alone; once it is shared, every process of the run can hold it, and as long as
    any of them lives no other run gets it. Some network file systems lock nothing; there it is held by everybody.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: Any = None
        self._said = False

    def take(self) -> bool:
        """Take it alone; returns whether it keeps others out, which it does not on a disk that knows no locks.

        Raises:
            ExportError: when another run has it.
            OSError: when its file cannot be written.
        """
        held = self._locked(shared=False)
        if held is None:
            raise ExportError(
                f"another batch is being written to '{self._folder}'{self._holder()}; wait until it has ended, or"
                " choose another folder."
            )
        with suppress(OSError):  # a full disk: only whom to name is not known then
            self._open.truncate(0)
            self._said = self._open.write(f"process {os.getpid()} on {socket.gethostname()}".encode()) > 0
        return held

    def share(self) -> None:
        """Hold it together with the other processes of this run."""
        if self._locked(shared=True) is None:
            raise ExportError(f"another batch has begun to write to '{self._folder}' just now.")

    def release(self) -> None:
        """Let it go."""
        if self._open is not None:
            if self._said:
                with suppress(OSError):
                    self._open.truncate(0)
            self._open.close()
            self._open, self._said = None, False

    @property
    def _folder(self) -> Path:
        return self._file.parent.parent

    def _holder(self) -> str:
        """Who has it, as it has said itself."""
        try:
            said = self._file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return f" by {said}" if said.startswith("process ") else ""

    def _locked(self, *, shared: bool) -> bool | None:
        """Whether it is locked now; None where others have it, and False where the disk locks nothing."""
        if self._open is None:
            self._open = self._file.open("a+b", buffering=0)
        try:
            _lock(self._open, shared)
        except OSError as error:
            if error.errno not in _TAKEN:
                return False
            self.release()
            return None
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
