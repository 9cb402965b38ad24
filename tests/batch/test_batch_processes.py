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


@pytest.mark.slow
def test_three_processes_make_the_same_files_as_one(make, tmp_path):
    lines = ["un gato (rojo:1.4)", "a blue star", "un ratón gris", "(a:2) cat", "a cat AND a mouse", "a green circle"]
    rows = [f'"{line}",{32 if number % 2 else 64}' for number, line in enumerate(lines)]
    table = ["prompt,size.height", *rows, "broken", '"x",33']
    one = make(table, "seed=7", name="p.csv", maps=True, batch=2)

    launch = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "3", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--module", "promptattn.cli", "batch"]
    # Piped in: a file that is there only once is read once, however many processes there are.
    options = ["-", "--format", "csv", "--out", str(tmp_path / "of3"), "--batch", "2", "--seed", "7", "--json"]
    small = ["--steps", "2", "--width", "32", "--height", "32"]
    done = subprocess.run(
        [sys.executable, "-m", *launch, *options, *small],
        capture_output=True,
        env=environment(),
        input="\n".join(table).encode(),
    )
    told = done.stderr.decode()
    assert done.returncode == 1, told  # two lines cannot be made
    said = json.loads(done.stdout[done.stdout.index(b"{") :])
    assert (said["done"], said["failed"], said["unreadable"], said["processes"]) == (6, 1, 1, 3)
    assert told.count("line 8: it has 1 fields") == 1
    assert said["entries"] == one.entries
    three = {**tree(tmp_path / "of3"), "batch.json": None}  # which has the name of the file
    assert three.keys() == tree(one.folder).keys()  # as a set first: the difference is easier to read
    assert three == {**tree(one.folder), "batch.json": None}
