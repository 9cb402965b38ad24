"""The folder of a batch: whose it is, and who may write to it."""

import errno
import fcntl
import io
import json
import os
import socket

import pytest

from promptattn.batch import Telling
from promptattn.batch.lock import Lock
from promptattn.console import emit, printable
from promptattn.errors import ExportError


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ('{"name": "batches of bread"}', "holds no batch"),
        ("flour", "holds no batch"),
        ('{"format": "promptattn-batch", "version": 2}', "a batch of version 2, and this promptattn takes 1"),
    ],
)
def test_a_header_of_something_else_is_no_batch(make, tmp_path, header, message):
    out = tmp_path / "out"
    (out / ".batch" / "rank-0").mkdir(parents=True)
    (out / "batch.json").write_text(header)
    with pytest.raises(ExportError, match=message):
        make(["a cat"])
    assert (out / "batch.json").read_text() == header
    assert (out / ".batch" / "rank-0").is_dir()  # nor is anything cleared away


def test_who_writes_to_a_folder_is_named(make, tmp_path):
    make(["a cat"])
    other = Lock(tmp_path / "out" / ".batch" / "lock")
    assert other.take()
    with pytest.raises(
        ExportError, match=f"is being written .* by process {os.getpid()} on {socket.gethostname()}; wait"
    ):
        make(["a cat"])


def test_what_a_dead_process_has_said_of_itself_keeps_nobody_out(make, tmp_path):
    (tmp_path / "out" / ".batch").mkdir(parents=True)
    (tmp_path / "out" / ".batch" / "lock").write_text("process 1 on a machine that has burnt down, of many letters")
    assert make(["a cat"]).count("done") == 1
    assert (tmp_path / "out" / ".batch" / "lock").read_text() == ""


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_a_disk_that_locks_nothing_is_told_of_and_used(make, monkeypatch, number):
    def flock(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    notes = []
    assert make(["a cat"], telling=Telling(note=lambda *note: notes.append(note))).count("done") == 1
    ((severity, message),) = notes
    assert severity == "warning"
    assert "cannot lock a file" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_may_not_be_written_to_is_named(make, tmp_path):
    (tmp_path / "theirs").mkdir(mode=0o500)
    with pytest.raises(ExportError, match=r"No permission to write .*theirs/out'; choose a folder"):
        make(["a cat"], folder="theirs/out")


def test_a_place_that_cannot_be_written_to_is_named(make, monkeypatch):
    def mkdir(path, *args):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(ExportError, match=r"No permission to write .*out'; choose a folder"):
        make(["a cat"])


def test_the_files_of_a_line_are_on_the_disk_before_the_line_has_its_name(make, monkeypatch, tmp_path):
    synced, names = set(), {}
    fsync, rename = os.fsync, os.rename

    def watched(number):
        synced.add(os.fstat(number).st_ino)
        fsync(number)

    def renamed(old, new):
        if os.path.basename(new) == "00001_a-cat":
            inside = [os.path.join(folder, name) for folder, _, files in os.walk(old) for name in files]
            names.update({os.path.basename(file): os.stat(file).st_ino in synced for file in inside})
        rename(old, new)

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(os, "rename", renamed)
    out = make(["a cat"], maps=True).folder
    assert {"image.png", "item.json", "maps.npz", "index.html"} <= names.keys()
    assert all(names.values()), names
    assert {(out / name).stat().st_ino for name in ("batch.json", "manifest.jsonl")} <= synced


def test_half_a_surrogate_pair_is_an_escape_in_json(make, monkeypatch, tmp_path):
    made = make([json.dumps({"prompt": "a cat \ud800", "name": "cat"})], name="p.jsonl")
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr("sys.stdout", stream)
    printable()
    emit(made.entries)
    stream.flush()
    assert json.loads(stream.buffer.getvalue())[0]["prompt"] == "a cat \ud800"
