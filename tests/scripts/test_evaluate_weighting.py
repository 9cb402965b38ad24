"""The script that compares all methods: a small run on the real UNet, going on, taking over, bad options."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from promptattn.errors import ConfigError
from promptattn.shapes.study.cases import scene_cases
from promptattn.shapes.study.methods import running
from promptattn.shapes.study.painter import Painted

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate_weighting.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("evaluate_weighting", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(script, *options):
    app = typer.Typer()
    app.command()(script.main)
    return CliRunner().invoke(app, options)


def test_one_scene_of_the_unet_by_three_methods(script, tmp_path):
    options = ["--model", "shapes", "--methods", "attention,comfy,compel", "--scenes", "1", "--steps", "1"]
    options += ["--processes", "1", "--batch", "1", "--out", str(tmp_path)]
    done = run(script, *options)
    assert done.exit_code == 0, done.output
    # 3 methods x 7 weights x 2 words, less 4 x 2 that compel shares, and weight 1 twice; 0.5 on others, and weight 1.
    assert "44 new results" in done.output
    assert "44 of 44" in done.output
    found = json.loads((tmp_path / "shapes" / "report.json").read_text(encoding="utf-8"))
    assert found["methods"] == ["attention", "comfy", "compel"]
    assert found["cells"]["colour"]["compel"]["3"] == found["cells"]["colour"]["comfy"]["3"]
    assert found["cells"]["colour"]["compel"]["0"] != found["cells"]["colour"]["comfy"]["0"]
    assert (tmp_path / "shapes" / "report.md").read_text(encoding="utf-8") in done.output
    options += ["--shard", "0/1"]  # which reports nothing
    again = run(script, *options)
    assert "0 new results" in again.output
    assert "Advice" not in again.output
    elsewhere = [*options, "--out", str(tmp_path / "b"), "--start-from", f"shapes={tmp_path / 'shapes'}"]
    taken = run(script, *elsewhere)
    assert "44 results taken over" in taken.output
    assert "0 new results" in taken.output


def test_models_take_turns_block_by_block(tmp_path, monkeypatch):
    """Two models that draw nothing: the first 8 scenes of both are done before the ninth of either."""
    monkeypatch.setattr("promptattn.shapes.study.session.pixels.measure", lambda case, image, base: {"own": 0.0})
    calls = []

    def work(name):
        def painter(cell, cases):
            calls.append((name, cell.arm, [case.index for case in cases]))
            blank = torch.zeros(64, 64, 3, dtype=torch.uint8).numpy()
            return [Painted(blank, {}) for _ in cases]

        store = running.Store(tmp_path / name, {"model": name})
        return running.Work(tmp_path / name, store, painter, ("attention", "comfy"))

    lines = []
    works = [work("a"), work("b")]
    running.fill(works, scene_cases(12), shard="0/2", batch=4, limit=20, progress=lines.append)
    assert len(works[0].store) == 20
    assert len(works[1].store) == 0
    assert "20 of" in lines[-1]
    running.fill(works, scene_cases(12), shard="0/2", batch=4, progress=lines.append)
    order = [(name, max(indices) >= 8) for name, _, indices in calls]
    turns = [each for n, each in enumerate(order) if n == 0 or order[n - 1] != each]
    assert turns == [(name, late) for late in (False, False, True, True) for name in ("a", "b")]
    assert not {index for *_, indices in calls for index in indices} & {2, 3, 6, 7, 10, 11}  # the other shard's


def test_a_method_without_meaning_is_left_out_and_named(tmp_path):
    work = running.prepare("shapes-dit", tmp_path, ("attention", "negpip"), 1, 0)
    assert work.methods == ("attention",)
    assert "normalised" in running.refused(tmp_path)["negpip"]


def test_processes_are_this_command_as_shards(script, monkeypatch, tmp_path):
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import sys, pathlib\n"
        f"pathlib.Path(r'{tmp_path}', sys.argv[-1].replace('/', '-')).write_text(' '.join(sys.argv[1:]))\n"
        "sys.exit(sys.argv[1] == 'fail')\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(sys, "argv", [str(probe), "go"])
    script.in_processes(2, 3)
    assert (tmp_path / "0-2").read_text() == "go --threads 3 --shard 0/2"
    assert (tmp_path / "1-2").read_text() == "go --threads 3 --shard 1/2"
    monkeypatch.setattr(sys, "argv", [str(probe), "fail"])
    with pytest.raises(ConfigError, match="2 of 2"):
        script.in_processes(2, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "attention,loud"], "no loud"),
        (["--model", "someone/else"], "someone/else"),
        (["--start-from", "nothing"], "MODEL=FOLDER"),
        (["--start-from", "shapes=nowhere"], "nowhere"),
        (["--report-only", "--out", "nowhere"], "no results"),
    ],
)
def test_bad_options_are_one_sentence(script, options, message):
    result = run(script, *options)
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)
