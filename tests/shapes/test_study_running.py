"""Running the study of weights: nothing is done twice, old results stay good, the script works."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import promptattn
from promptattn.errors import ConfigError
from promptattn.shapes import render
from promptattn.shapes.study.cases import prompt_cases, scene_cases
from promptattn.shapes.study.cells import UNTOUCHED, Cell, Effect, grid
from promptattn.shapes.study.painter import Painted, fingerprint, paint
from promptattn.shapes.study.session import Session
from promptattn.shapes.study.store import Key, Store

SCRIPT = Path(__file__).parents[2] / "scripts" / "study_weights.py"


@pytest.fixture(scope="module")
def pipe():
    return promptattn.load("shapes")


class Painter:
    """Draws the scene itself, and remembers what it was asked for."""

    def __init__(self):
        self.calls = []

    def __call__(self, cell, cases):
        self.calls.append((cell, [case.index for case in cases]))
        return [Painted(render(case.scene)[0], {}) for case in cases]


def silent(cell, new):
    pass


def session(folder, painter, cases, **options):
    store = Store(folder, {"model": "drawn"})
    return Session(folder, store, painter, cases, **{"batch": 4, "maps": False, **options}), store


def test_nothing_is_painted_twice(tmp_path):
    cases, cells = scene_cases(3), grid(("denoiser", "auto", "a1111"), ("noun", "colour"))
    painter = Painter()
    first, store = session(tmp_path, painter, cases, batch=2)
    made = first.run(cells, progress=silent)
    assert made == len(store)
    # `auto` is `denoiser` but at 0, and weight 1 is the same image in all arms, for both targets.
    effects = {(cell.effect, cell.target) for cell in cells}
    assert len(store) == 3 * len(effects)
    painted = [(cell.effect, cell.target, index) for cell, indices in painter.calls for index in indices]
    assert len(painted) == len(set(painted)) == 3 * (len(effects) - 2 + 1)

    again = Painter()
    assert session(tmp_path, again, cases)[0].run(cells, progress=silent) == 0
    assert again.calls == []


def test_a_stopped_run_goes_on(tmp_path):
    cases, cells = scene_cases(6), grid(("auto",), ("noun",))
    assert session(tmp_path, Painter(), cases)[0].run(cells, limit=8, progress=silent) == 8
    lines = (tmp_path / "results.jsonl").read_bytes()
    (tmp_path / "results.jsonl").write_bytes(lines[:-20])  # killed while writing
    painter = Painter()
    rest, store = session(tmp_path, painter, cases)
    assert len(store) == 7
    assert rest.run(cells, progress=silent) == 60 - 7
    assert len(Store(tmp_path)) == 60
    assert not any(cell.effect == UNTOUCHED for cell, _ in painter.calls)  # the first images were kept


def test_two_processes_share_a_folder(tmp_path):
    cases = scene_cases(4)
    halves = [session(tmp_path, Painter(), cases[:2]), session(tmp_path, Painter(), cases[2:])]
    for half, _ in halves:
        half.run([Cell("auto", 2.0, "noun")], progress=silent)
    assert len(Store(tmp_path)) == 4


def test_results_of_other_settings_are_not_mixed(tmp_path):
    Store(tmp_path, {"steps": 20, "weights": "a"})
    with pytest.raises(ConfigError, match=r"weights='a'.*'b'"):
        Store(tmp_path, {"steps": 20, "weights": "b"})
    with pytest.raises(ConfigError, match="no results"):
        Store(tmp_path / "elsewhere")


def test_results_from_before_rules_were_named_are_read(tmp_path):
    Store(tmp_path, {"steps": 20})
    lines = [
        {"effect": [2.0, 1.0, 1.0], "target": "noun", "case": 0, "measures": {"own": 1}},
        {"effect": [1.0, 1.0, 2.0], "target": "noun", "case": 0, "measures": {"own": 2}},
        {"effect": [1.0, 1.0, 1.0], "target": "noun", "case": 0, "measures": {"own": 3}},
        {"effect": [1.0, 1.0, 2.0, "comfy"], "target": "noun", "case": 0, "measures": {"own": 4}},
    ]
    (tmp_path / "results.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    store = Store(tmp_path)
    effects = (Effect(2.0), Cell("a1111", 2.0, "noun").effect, UNTOUCHED, Cell("comfy", 2.0, "noun").effect)
    assert [store[Key(effect, "noun", 0)]["own"] for effect in effects] == [1, 2, 3, 4]


def test_another_folder_s_results_are_taken_over(tmp_path):
    cases = scene_cases(4)
    first, _ = session(tmp_path / "a", Painter(), cases)
    first.run([Cell("auto", 0.5, "noun"), Cell("a1111", 2.0, "noun")], progress=silent)
    painter = Painter()
    second, store = session(tmp_path / "b", painter, cases[:3])
    cells = [Cell("attention", 0.5, "noun"), Cell("comfy", 2.0, "noun")]
    assert second.adopt(tmp_path / "a", cells) == 3
    assert second.adopt(tmp_path / "a", cells) == 0
    assert len(store) == 3
    assert second.run(cells, progress=silent) == 3
    assert painter.calls == [(cells[1], [0, 1, 2])]  # the images without weights came along
    with pytest.raises(ConfigError, match="no results"):
        second.adopt(tmp_path / "nowhere", cells)
    assert not (tmp_path / "nowhere").exists()
    Store(tmp_path / "other", {"model": "another"})
    with pytest.raises(ConfigError, match="another"):
        second.adopt(tmp_path / "other", cells)


def test_what_is_not_finite_is_not_written(tmp_path):
    store, key = Store(tmp_path, {}), Key(Effect(2.0), "noun", 0)
    store.append(key, {"own": np.float64(0.25), "distance": float("nan"), "broken": False})
    assert Store(tmp_path)[key] == {"own": 0.25, "broken": 0}


@pytest.mark.parametrize("arm", ["auto", "text", "a1111"])
def test_a_case_is_painted_alike_alone_and_in_a_batch(pipe, arm):
    options = {"num_inference_steps": 2, "guidance_scale": 4.0}
    cases = scene_cases(3)
    together = paint(pipe, Cell(arm, 1.5, "colour"), cases, options)
    alone = paint(pipe, Cell(arm, 1.5, "colour"), cases[1:2], options)[0]
    difference = np.abs(alone.image.astype(int) - together[1].image.astype(int))
    assert difference.max() <= 1  # batches round otherwise
    base = paint(pipe, Cell(arm, 1.0, "colour"), cases, options)
    assert not np.array_equal(base[1].image, together[1].image)
    stock = pipe(cases[1].text, generator=torch.Generator().manual_seed(cases[1].seed), **options).images[0]
    assert np.abs(np.asarray(stock).astype(int) - base[1].image).max() <= 1


def test_maps_of_marked_words(pipe):
    cases = prompt_cases(["a {red} cat left of a {blue} star", "a {green} moon"])
    painted = paint(pipe, Cell("auto", 2.0, "word"), cases, {"num_inference_steps": 2}, maps=True)
    assert painted[0].maps.keys() == {"own", "other"}
    assert painted[1].maps.keys() == {"own"}
    assert painted[0].maps["own"].shape == painted[0].image.shape[:2]
    plain = paint(pipe, Cell("auto", 1.0, "word"), cases, {"num_inference_steps": 2}, maps=True)
    assert painted[0].maps["own"].mean() > 1.5 * plain[0].maps["own"].mean()
    scaled = paint(pipe, Cell("a1111", 2.0, "word"), cases, {"num_inference_steps": 2}, maps=True)
    assert scaled[0].maps["own"].mean() != plain[0].maps["own"].mean()


def test_the_fingerprint_knows_the_weights(pipe):
    before = fingerprint(pipe)
    bias = pipe.unet.conv_out.bias
    with torch.no_grad():
        bias += 1
        changed = fingerprint(pipe)
        bias -= 1
    assert changed != before


def run_script(*options):
    spec = importlib.util.spec_from_file_location("study_weights", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    app = typer.Typer()
    app.command()(script.main)
    return CliRunner().invoke(app, options)


def test_the_script_on_marked_prompts(tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("un gato {rojo} y una estrella {azul}\n", encoding="utf-8")
    options = ["--prompts", str(prompts), "--out", str(tmp_path / "out"), "--steps", "1", "--arms", "auto,a1111"]
    done = run_script(*options)
    assert done.exit_code == 0, done.output
    assert "19 new results" in done.output
    found = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert found["cells"]["word"]["auto"]["3"]["mass"][0] > 1
    assert found["cells"]["word"]["a1111"]["3"]["mass"][0] != 1
    assert (tmp_path / "out" / "report.md").read_text(encoding="utf-8") in done.output
    assert "0 new results" in run_script(*options).output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arms", "auto,loud"], "no loud"),
        (["--shard", "2/2"], "--shard 2/2"),
        (["--model", "someone/else"], "--prompts"),
        (["--prompts", "nowhere.txt"], "nowhere.txt"),
        (["--report-only", "--out", "nowhere"], "no results"),
    ],
)
def test_bad_options_are_one_sentence(options, message):
    result = run_script(*options)
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)
