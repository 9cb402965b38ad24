"""A disk that fails, or a process that is killed, at a chosen one of all the changes made to a folder."""

import builtins
import errno
import io
import os
from contextlib import contextmanager

CHANGES = ("mkdir", "rename", "replace", "unlink", "remove", "rmdir", "fsync")
REMOVING = ("unlink", "remove", "rmdir")  # what a full disk lets pass


class Killed(BaseException):
    """Stands for SIGKILL: from here on nothing is changed on the disk, whatever the code still tries."""


class Disk:
    """Counts the changes, and fails.

    kind: `once`, the change number `at` fails and the later ones go well; `full`, from there on everything that takes
        room fails; `killed`, from there on nothing is changed any more.
    """

    def __init__(self, at=None, kind="once"):
        self.at, self.kind, self.count = at, kind, 0

    @property
    def struck(self):
        return self.at is not None and self.count >= self.at

    def change(self, what):
        self.count += 1
        if not self.struck or (self.kind == "once" and self.count > self.at):
            return
        if self.kind == "killed":
            raise Killed
        if what not in REMOVING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def failing(monkeypatch, disk):
    """Every change of a file or folder in this process goes through `disk` first."""

    class File(io.FileIO):
        def write(self, data):
            try:
                disk.change("write")
            except BaseException:
                super().write(bytes(data)[: len(data) // 2])  # what still went through
                raise
            return super().write(data)

    def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        if isinstance(file, int) or not set(mode) & set("wax+"):
            return real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        disk.change("open")
        raw = File(file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def counted(name, real):
        def change(*args, **kwargs):
            disk.change(name)
            return real(*args, **kwargs)

        return change

    real_open = builtins.open
    with monkeypatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, counted(name, getattr(os, name)))
        patch.setattr(builtins, "open", opened)
        patch.setattr(io, "open", opened)
        yield
