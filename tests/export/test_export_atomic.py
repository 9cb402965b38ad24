"""A folder appears whole or not at all, and what was there is kept."""

import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from promptattn.errors import ExportError
from promptattn.export import atomic_folder


def everything(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_folder_appears_at_the_end(tmp_path):
    with atomic_folder(tmp_path / "out") as partial:
        (partial / "a.txt").write_text("a")
        assert not (tmp_path / "out").exists()
        assert partial.parent == tmp_path
    assert everything(tmp_path) == ["out", "out/a.txt"]


def test_parents_are_made_and_an_empty_folder_is_used(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("deep/er/out", "empty"):
        with atomic_folder(tmp_path / name) as partial:
            (partial / "a.txt").write_text("a")
        assert everything(tmp_path / name) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), SystemExit(3)])
def test_an_interrupted_export_leaves_nothing(tmp_path, error):
    def write():
        with atomic_folder(tmp_path / "deep/out") as partial:
            (partial / "a.txt").write_text("a")
            raise error

    with pytest.raises(type(error)):
        write()
    assert everything(tmp_path) == []


def test_an_existing_folder_is_kept(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with (
        pytest.raises(ExportError, match=r"already exists and is kept; .* --force \(force=True\)"),
        atomic_folder(tmp_path / "out"),
    ):
        pytest.fail("must be refused on entry")
    with (
        pytest.raises(ExportError, match=r"was not written by promptattn \(it holds no maps\.json\)"),
        atomic_folder(tmp_path / "out", force=True),
    ):
        pytest.fail("must be refused on entry")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def old_export(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "maps.json").write_text("old")
    return tmp_path / "out"


def test_force_replaces_an_export_at_the_very_end(tmp_path):
    out = old_export(tmp_path)
    with atomic_folder(out, force=True) as partial:
        (partial / "new.txt").write_text("new")
        assert (out / "maps.json").read_text() == "old"
    assert everything(tmp_path) == ["out", "out/new.txt"]


def test_other_markers_can_be_named(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("{}")
    with atomic_folder(tmp_path / "out", force=True, marker=("maps.json", "run.json")) as partial:
        (partial / "new.txt").write_text("new")
    assert everything(tmp_path) == ["out", "out/new.txt"]


def test_force_keeps_the_old_one_when_the_new_fails(tmp_path):
    out = old_export(tmp_path)

    def write():
        with atomic_folder(out, force=True) as partial:
            (partial / "new.txt").write_text("new")
            full_disk()

    with pytest.raises(ExportError, match="disk is full"):
        write()
    assert everything(tmp_path) == ["out", "out/maps.json"]


def test_force_puts_the_old_one_back_when_the_swap_fails(tmp_path, monkeypatch):
    out = old_export(tmp_path)
    rename = Path.rename

    def refuse_new(self, target):
        if ".partial-" in self.name:
            raise OSError(errno.EIO, "input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    with pytest.raises(ExportError, match="could not be written"), atomic_folder(out, force=True) as partial:
        (partial / "new.txt").write_text("new")
    assert everything(tmp_path) == ["out", "out/maps.json"]
    assert (out / "maps.json").read_text() == "old"


def test_a_link_keeps_pointing_to_the_new_content(tmp_path):
    out = old_export(tmp_path)
    (tmp_path / "link").symlink_to(out)
    with atomic_folder(tmp_path / "link", force=True) as partial:
        (partial / "new.txt").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert everything(tmp_path / "link") == ["new.txt"]


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ExportError, match="is a file, not a folder"), atomic_folder(tmp_path / "out", force=True):
        pass
    with pytest.raises(ExportError, match="a part of its path is a file"), atomic_folder(tmp_path / "out" / "sub"):
        pass
    assert everything(tmp_path) == ["out"]


def test_an_unwritable_parent(tmp_path, monkeypatch):
    def forbidden(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", forbidden)
    with (
        pytest.raises(ExportError, match=r"No permission to write .* choose a folder"),
        atomic_folder(tmp_path / "out"),
    ):
        pass
    assert everything(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_parent_without_write_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ExportError, match="No permission"), atomic_folder(tmp_path / "out"):
            pass
    finally:
        tmp_path.chmod(0o700)


def test_other_errors_inside_are_not_taken_for_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "out"):
        (tmp_path / "model" / "config.json").read_text()
    assert everything(tmp_path) == []


def test_a_too_long_name(tmp_path):
    with pytest.raises(ExportError, match="too long"), atomic_folder(tmp_path / ("x" * 300)):
        pass
    assert everything(tmp_path) == []


@pytest.mark.parametrize("after", [0, 1, 5, 20])
def test_a_disk_that_fills_up_while_saving_leaves_nothing(tmp_path, monkeypatch, maps, image, after):
    count = 0
    save = Image.Image.save

    def save_until_full(self, file, *args, **kwargs):
        nonlocal count
        if isinstance(file, Path):
            count += 1
            if count > after:
                file.write_bytes(b"half a picture")
                full_disk()
        return save(self, file, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", save_until_full)
    with pytest.raises(ExportError, match="The disk is full") as told:
        maps.save(tmp_path / "out", image=image)
    assert "\n" not in str(told.value)
    assert count > after
    assert everything(tmp_path) == []


@pytest.mark.parametrize("name", ["maps.npz", "maps.safetensors", "maps.json", "index.html"])
def test_a_disk_that_fills_up_at_a_late_file_leaves_nothing(tmp_path, monkeypatch, maps, name):
    write, savez = Path.write_bytes, "numpy.savez_compressed"
    if name == "maps.npz":
        monkeypatch.setattr(savez, full_disk)
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: full_disk() if self.name == name else write(self, data))
    with pytest.raises(ExportError, match="The disk is full"):
        maps.save(tmp_path / "out")
    assert everything(tmp_path) == []
