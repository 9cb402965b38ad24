"""Batches in processes of their own: several at once, killed, and with too little disk."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from batch_written import manifest, tree

HERE = Path(__file__).parent


def environment():
    # As many threads as the machine has: what is made does not depend on them.
    return {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"} | {"HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What became of batches that were killed, and that could not write."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(HERE / "killing.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_it_had_not_been(killed):
    folder, codes, _ = killed
    assert codes["whole"] == 0
    assert -9 in codes["killed"]
    assert codes["after kills"] == 0
    assert tree(folder / "killed") == tree(folder / "whole")
    assert [entry["status"] for entry in manifest(folder / "whole")] == ["done"] * 4 + ["unreadable", "done"]


@pytest.mark.slow
def test_without_room_on_the_disk_nothing_is_half_written_and_it_goes_on_later(killed):
    folder, codes, told = killed
    assert codes["limited"] == 3, told
    assert "could not be written: File too large." in told
    assert "run the same command again" in told
    assert codes["left"] == [".batch", "batch.json"]
    assert codes["after limit"] == 0
    assert tree(folder / "limited") == tree(folder / "whole")


def batch_by(count, file, out):
    """A batch by so many processes: its JSON, its files, and what it told."""
    launch = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", str(count), "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--module"]
    command = [sys.executable, "-m", *(launch if count > 1 else []), "promptattn.cli", "batch", str(file)]
    options = ["--out", str(out), "--steps", "2", "--width", "32", "--batch", "2", "--seed", "7", "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment())
    assert done.returncode == 1, done.stderr  # two lines cannot be made
    return json.loads(done.stdout[done.stdout.index("{") :]), tree(out), done.stderr


@pytest.mark.slow
def test_three_processes_make_the_same_files_as_one(tmp_path):
    lines = ["un gato (rojo:1.4)", "a blue star", "un ratón gris", "(a:2) cat", "a cat AND a mouse", "a green circle"]
    rows = [f'"{line}",{32 if number % 2 else 64}' for number, line in enumerate(lines)]
    file = tmp_path / "p.csv"
    file.write_text("\n".join(["prompt,size.height", *rows, "broken", '"x",33']), encoding="utf-8")
    made = {count: batch_by(count, file, tmp_path / f"of{count}") for count in (1, 3)}
    for count, (said, _, told) in made.items():
        assert (said["done"], said["failed"], said["unreadable"], said["processes"]) == (6, 1, 1, count)
        assert told.count("line 8: it has 1 fields") == 1
    assert made[1][0]["entries"] == made[3][0]["entries"]
    assert made[1][1].keys() == made[3][1].keys()  # as a set first: the difference is easier to read
    assert made[1][1] == made[3][1]
