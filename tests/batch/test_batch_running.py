"""Batches in this process: what is made, what is kept, and what goes on after all kinds of trouble."""

import errno
import json
import shutil

import numpy as np
import pytest
import torch
from batch_written import manifest, tree
from PIL import Image

import promptattn
from promptattn.batch import Line, Telling
from promptattn.batch.grouping import groups_of
from promptattn.batch.items import items_of
from promptattn.batch.lock import Lock
from promptattn.config import load_config
from promptattn.errors import ConfigError, ExportError
from promptattn.prompt import plan

LINES = ["un gato (rojo:1.4)", "a blue star", "un ratón gris"]


class Notes(list):
    """What a batch tells."""

    def __init__(self):
        self.estimates = []
        self.telling = Telling(note=lambda *note: self.append(note), estimate=self.estimates.append)


def test_each_line_gets_a_folder_like_that_of_generate(make, loaded, tmp_path):
    result = make(LINES, "seed=7", maps=True)
    assert [entry["status"] for entry in result.entries] == ["done"] * 3
    assert result.entries == manifest(tmp_path / "out")
    folder = tmp_path / "out" / "00001_un-gato-rojo-1-4"
    assert {"image.png", "index.html", "maps.npz", "promptattn.yaml", "item.json"} <= {p.name for p in folder.iterdir()}
    alone = promptattn.generate(loaded, LINES[0], seed=7, num_inference_steps=2, height=32, width=32)
    with Image.open(folder / "image.png") as image:
        assert np.array_equal(np.asarray(image), np.asarray(alone.images[0]))
    found = promptattn.read_image(folder / "image.png")
    assert (found.settings["prompt"], found.settings["seed"]) == (LINES[0], 7)
    again = promptattn.export.load(folder)
    assert np.array_equal(again["rojo"].array, alone.maps["rojo"].array)


def test_once_more_makes_nothing_and_changes_nothing(make, tmp_path, monkeypatch):
    make(LINES)
    before = tree(tmp_path / "out")
    monkeypatch.setattr("promptattn.batch.running.load_pipeline", None)  # not even loaded
    notes = Notes()
    result = make(LINES, telling=notes.telling)
    assert (result.before, result.count("done")) == (3, 3)
    assert notes == [("info", "3 of 3 lines are done already.")]
    assert tree(tmp_path / "out") == before


def test_new_lines_are_made_and_vanished_ones_are_told_of(make, tmp_path):
    make(LINES)
    result = make([LINES[0], "a green circle", LINES[2], "a cat"])
    assert (result.before, result.count("done")) == (2, 4)
    assert result.unlisted == ["00002_a-blue-star"]
    assert [entry["line"] for entry in manifest(tmp_path / "out")] == [1, 2, 3, 4]


def test_lines_that_fail_or_cannot_be_read_are_listed_and_the_others_go_on(make, tmp_path):
    lines = [
        json.dumps({"prompt": "a cat", "height": 33}),
        "{bad",
        json.dumps({"prompt": "a red cat", "name": "good"}),
        json.dumps({"prompt": "a cat", "capture": {"words": ["dog"]}}),
        json.dumps({"prompt": "a cat", "capture": {"words": ["cat"]}, "export": {"words": ["dog"]}}),
    ]
    notes = Notes()
    result = make(lines, name="p.jsonl", telling=notes.telling, batch=4)
    assert [entry["status"] for entry in result.entries] == ["failed", "unreadable", "done", "failed", "failed"]
    assert "multiple of 8" in result.entries[0]["error"]
    assert result.entries[1]["text"] == "{bad"
    assert "there is no 'dog'" in result.entries[3]["error"]
    assert "dog" in result.entries[4]["error"]
    assert [severity for severity, _ in notes] == ["error"] * 4
    assert [message.partition(":")[0] for _, message in notes] == ["line 2", "line 1", "line 4", "line 5"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".batch", "batch.json", "manifest.jsonl", "good"}
    # A line that has been put right is made, and only it.
    lines[0] = json.dumps({"prompt": "a cat", "height": 32})
    again = make(lines, name="p.jsonl", batch=4)
    assert (again.before, again.count("done")) == (1, 2)


def test_strict_refuses_before_anything_is_made(make, tmp_path):
    with pytest.raises(ConfigError, match=r"2 lines of .* cannot be used"):
        make(['"a"', "{", "["], name="p.jsonl", strict=True)
    assert not (tmp_path / "out").exists()


def test_warnings_name_their_lines_and_are_kept(make, tmp_path):
    notes = Notes()
    result = make(["a cat", "a (cat:1e9) [x:y:50]"], telling=notes.telling)
    (told,) = [message for severity, message in notes if "never switches" in message]
    assert told.startswith("line 2: ")
    assert result.entries[0]["warnings"] == []
    assert any("never switches" in warning for warning in result.entries[1]["warnings"])


def test_a_larger_batch_gives_the_same_but_for_rounding(make, tmp_path):
    lines = [LINES[0], "a [red:blue:0.5] cat", "a cat AND a mouse", "x " * 90, "(a:2) cat"]
    one = make(lines, "negative_prompt=ugly", maps=True, folder="one")
    four = make(lines, "negative_prompt=ugly", maps=True, folder="four", batch=4)
    assert one.entries == four.entries
    assert tree(one.folder).keys() == tree(four.folder).keys()
    for entry in one.entries:
        images = [np.asarray(Image.open(each.folder / entry["images"][0]), dtype=int) for each in (one, four)]
        assert np.abs(images[0] - images[1]).max() <= 2
        maps = [promptattn.export.load(each.folder / entry["name"]) for each in (one, four)]
        assert maps[0].meta == maps[1].meta
        for first, second in zip(maps[0].records, maps[1].records, strict=True):
            np.testing.assert_allclose(first.mass, second.mass, atol=1e-5)


def test_other_settings_are_refused_and_nothing_is_touched(make, tmp_path):
    make(LINES)
    before = tree(tmp_path / "out")
    with pytest.raises(ExportError, match="3 lines were made") as caught:
        make(LINES, "guidance=2")
    assert "line 1 (00001_un-gato-rojo-1-4): guidance left out there, 2.0 now" in str(caught.value)
    assert "--force" in str(caught.value)
    assert tree(tmp_path / "out") == before
    result = make(LINES, "guidance=2", force=True)
    assert result.count("done") == 3
    assert tree(tmp_path / "out")["00002_a-blue-star/image.png"] != before["00002_a-blue-star/image.png"]
    fresh = make(LINES, "guidance=2", folder="fresh")
    assert tree(tmp_path / "out") == tree(fresh.folder)


def test_going_on_with_another_batch_size_is_told(make):
    make(LINES[:1])
    notes = Notes()
    make(LINES, batch=2, telling=notes.telling)
    assert ("warning", "earlier lines were made with --batch 1, the rest with 2: that may round differently.") in notes


def test_a_folder_of_something_else_is_left_alone(make, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(ExportError, match="holds no batch"):
        make(LINES)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    with pytest.raises(ExportError, match="is a file"):
        make(LINES, folder="prompts.txt")


def test_a_model_that_cannot_be_loaded_leaves_nothing(make, monkeypatch, tmp_path):
    def fail(config):
        raise ConfigError("no such model")

    monkeypatch.setattr("promptattn.batch.running.load_pipeline", fail)
    with pytest.raises(ConfigError, match="no such model"):
        make(LINES)
    assert not (tmp_path / "out").exists()


def test_two_batches_at_once_are_refused(make, tmp_path):
    make(LINES[:1])
    other = Lock(tmp_path / "out" / ".batch" / "lock")
    other.take()
    with pytest.raises(ExportError, match="another batch is being written"):
        make(LINES)
    other.release()
    other.share()  # one process of several is enough
    with pytest.raises(ExportError, match="another batch is being written"):
        make(LINES)
    other.release()
    assert make(LINES).count("done") == 3


def test_a_full_disk_stops_it_and_keeps_what_is_done(make, monkeypatch, tmp_path):
    whole = make(LINES, folder="whole")
    saved = Image.Image.save

    def save(self, target, *args, **kwargs):
        if "blue-star" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return saved(self, target, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(ExportError, match=r"disk is full.*2 lines are left: run the same command again"):
        make(LINES)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {".batch", "batch.json", "00001_un-gato-rojo-1-4"}
    monkeypatch.setattr(Image.Image, "save", saved)
    result = make(LINES)
    assert (result.before, result.count("done")) == (1, 3)
    assert tree(result.folder) == tree(whole.folder)


def test_what_a_kill_left_behind_is_finished_or_cleared_away(make, tmp_path):
    whole = make(LINES, folder="whole", batch=3)
    out = make(LINES, batch=3).folder
    # Killed when a call's folder was complete and some of it was in its place ...
    ready = out / ".batch" / "rank-1" / "group-000004"
    ready.mkdir(parents=True)
    shutil.move(out / "00003_un-raton-gris", ready)
    # ... and while another was being written, and in the middle of a line of the journal and of the manifest.
    partial = out / ".batch" / "rank-0" / ".group-000001.partial-abc"
    shutil.copytree(out / "00002_a-blue-star", partial / "00002_a-blue-star")
    shutil.rmtree(out / "00002_a-blue-star")
    (out / ".batch" / "rank-0-of-2.jsonl").write_text('{"name": "00001", "err')
    (out / ".batch" / "manifest.jsonl.partial").write_text('{"line"')
    (out / "manifest.jsonl").unlink()
    result = make(LINES, batch=3)
    assert (result.before, result.count("done")) == (2, 3)
    images = {path: data for path, data in tree(out).items() if path.endswith(".png")}
    assert images == {path: data for path, data in tree(whole.folder).items() if path.endswith(".png")}
    assert tree(out).keys() == tree(whole.folder).keys()


def test_too_little_memory_for_a_batch_makes_its_lines_alone(make, loaded, monkeypatch):
    forward, sizes = loaded.unet.mid_block.forward, []

    def hungry(sample, *args, **kwargs):
        sizes.append(len(sample))
        if len(sample) > 2:  # with guidance two rows are one image
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return forward(sample, *args, **kwargs)

    monkeypatch.setattr(loaded.unet.mid_block, "forward", hungry)
    result = make(["a red cat", "a blue cat", "a green cat"], batch=3)
    assert result.count("done") == 3
    assert sizes[0] == 6


def test_too_little_memory_for_a_line_names_the_options(make, loaded, monkeypatch):
    def hungry(*args, **kwargs):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: ...")

    monkeypatch.setattr(loaded.unet.mid_block, "forward", hungry)
    result = make(["a cat"], maps=True)
    (entry,) = result.entries
    assert entry["status"] == "failed"
    for option in ("--height", "--width", "capture.words", "--no-maps", "--dtype bfloat16"):
        assert option in entry["error"]


def test_how_full_the_machine_is_is_told_and_not_kept(make, monkeypatch):
    monkeypatch.setattr("promptattn.run.cost.estimate.free", lambda device: 1000)
    notes = Notes()
    result = make(["a cat"], telling=notes.telling)
    ((severity, message),) = notes
    assert severity == "warning"
    assert message.startswith("line 1: this run needs about")
    assert result.entries[0]["warnings"] == []


def test_an_estimate_is_told_once_for_all_lines(make):
    notes = Notes()
    make(LINES, telling=notes.telling)
    (estimate,) = notes.estimates
    assert (estimate.steps, estimate.calls) == (2, 3)
    assert estimate.memory > 0


@pytest.mark.parametrize(("options", "message"), [({"batch": 0}, "--batch 0"), ({"threads": 0}, "--threads 0")])
def test_numbers_that_cannot_be_are_refused(make, options, message):
    with pytest.raises(ConfigError, match=message):
        make(LINES, **options)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_what_no_batch_has_made_is_kept_and_named(make, tmp_path, kind, force):
    make(["a cat"])
    theirs = tmp_path / "out" / "00002_a-dog"
    if kind == "folder":
        theirs.mkdir()
        (theirs / "thesis.txt").write_text("years of work")
    elif kind == "file":
        theirs.write_text("years of work")
    else:
        theirs.symlink_to(tmp_path / "a disk that is not mounted")
    before = tree(tmp_path / "out")
    with pytest.raises(ExportError, match=r"00002_a-dog' is not a line of this batch.*give the line another name"):
        make(["a cat", "a dog"], force=force)
    assert tree(tmp_path / "out") == before
    assert theirs.is_symlink() == (kind == "dangling link")


def test_a_line_that_was_moved_to_another_disk_is_known_and_kept_there(make, tmp_path):
    make(["a cat"])
    line = tmp_path / "out" / "00001_a-cat"
    moved = line.rename(tmp_path / "moved")
    line.symlink_to(moved)
    assert make(["a cat"]).before == 1
    before = tree(moved)
    make(["a cat"], "seed=3", force=True)
    assert not line.is_symlink()
    assert tree(moved) == before


def test_half_a_surrogate_pair_fails_no_line(make, tmp_path):
    line = json.dumps({"prompt": "a cat \ud800", "name": "cat"})
    result = make([line], name="p.jsonl")
    assert result.count("done") == 1
    settings = json.loads((tmp_path / "out" / "cat" / "settings.json").read_text(encoding="utf-8"))
    assert settings["prompt"] == ["a cat \ud800"]


def test_a_text_that_many_lines_have_is_planned_once(loaded, monkeypatch):
    planned = []

    def counting(pipe, prompt, **more):
        planned.append(prompt.text)
        return plan(pipe, prompt, **more)

    monkeypatch.setattr("promptattn.run.together.plan", counting)
    lines = [Line(number, {"prompt": prompt}) for number, prompt in enumerate([*LINES, LINES[0]], start=1)]
    groups = groups_of(loaded, items_of(lines, load_config(None, ["negative_prompt=ugly"])), 2)
    assert [[item.line.number for item in group] for group in groups] == [[1, 2], [3, 4]]
    assert sorted(planned) == sorted({"un gato rojo", "a blue star", "un ratón gris", "ugly"})
