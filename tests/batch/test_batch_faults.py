"""The n-th change on the disk fails, or is where the process is killed, for every n: nothing is lost or half done."""

import itertools
import json
import os
import shutil

import pytest
from batch_written import tree
from failing_disk import Disk, Killed, failing
from PIL import Image

from promptattn.batch import run_batch
from promptattn.config import load_config
from promptattn.errors import ExportError
from promptattn.run.generate import Generation

LINES = [*(json.dumps({"prompt": f"a {colour} cat", "name": colour}) for colour in ("red", "blue")), "{bad", '"a star"']
FILES = {"image.png", "item.json", "promptattn.yaml", "settings.json"}


def picture(prompt, seed):
    return Image.new("RGB", (8, 8), (len(prompt), seed % 256, 0))


def generate(pipe, prompt, negative_prompt=None, *, seed, on_step=None, **more):
    """What a call of the model makes, without the model."""
    alone = isinstance(prompt, str)
    prompts, seeds = ([prompt], [seed]) if alone else (prompt, seed)
    images = [picture(*each) for each in zip(prompts, seeds, strict=True)]
    return Generation(images, None, seed, {"prompt": prompts, "negative_prompt": negative_prompt, "seed": seed})


@pytest.fixture
def batch(loaded, monkeypatch, tmp_path):
    """Make the batch in a folder of `tmp_path`."""
    monkeypatch.setattr(os, "fsync", lambda number: None)  # slow, and seen by nobody who does not pull the plug
    monkeypatch.setattr("promptattn.batch.making.generate", generate)
    monkeypatch.setattr("promptattn.batch.grouping.shape_of", lambda *args, **more: (1, 1))
    monkeypatch.setattr("promptattn.batch.running.load_pipeline", lambda config: loaded)
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(LINES))

    def make(folder, *sets, **more):
        config = load_config(None, ["steps=2", "capture=false", "export.metadata=false", *sets])
        return run_batch(file, tmp_path / folder, config, batch=2, **more)

    return make


def test_the_pretended_model_writes_what_a_real_one_does(batch):
    made = batch("out")
    assert {path.name for path in (made.folder / "red").iterdir()} == FILES


@pytest.mark.parametrize(
    ("kind", "gone_on"), [("once", False), ("full", False), ("killed", False), ("full", True), ("killed", True)]
)
def test_whichever_change_fails_nothing_is_lost(batch, monkeypatch, tmp_path, kind, gone_on):
    whole, earlier = tree(batch("whole").folder), batch("earlier", "seed=3").folder
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        if gone_on:
            shutil.copytree(earlier, folder)
        disk, error = Disk(number, kind), None
        with failing(monkeypatch, disk):
            try:
                batch(folder.name, force=gone_on)
            except (ExportError, Killed) as caught:
                error = caught
        if not disk.struck:
            break
        lines = [path.parent for path in folder.glob("*/item.json")]
        assert all({path.name for path in line.iterdir()} == FILES for line in lines), number
        if isinstance(error, ExportError):
            assert "disk is full" in str(error), number
        again = batch(folder.name, force=gone_on)
        assert tree(folder) == whole, number
        if not gone_on:
            assert again.before >= len(lines)
        shutil.rmtree(folder)
    assert number > 30
