"""scripts/generate.py: from a config and a prompt to a folder that is whole or not there."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import promptattn
from promptattn.config import load_config
from promptattn.maps import HeatMaps

ROOT = Path(__file__).parents[2]
FAST = ("--config", ROOT / "configs" / "shapes.yaml", "--steps", "2")


def one_line(result):
    return " ".join(result.output.split())


@pytest.mark.parametrize("name", ["generate", "export_maps"])
def test_scripts_run_as_they_are_told_to(name):
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--out" in done.stdout
    text = (ROOT / "scripts" / f"{name}.py").read_text(encoding="utf-8")
    assert f"python scripts/{name}.py" in text


def test_a_config_makes_images_maps_and_the_config_that_makes_them_again(script, tmp_path):
    done = script("generate", *FAST, "--set", "export.colormap=gray", "--out", tmp_path / "a")
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"image.png", "index.html", "maps.json", "maps.npz", "maps.safetensors", "words", "promptattn.yaml"} <= names
    again = load_config(tmp_path / "a" / "promptattn.yaml")
    assert (again.steps, again.guidance, again.dtype, again.seed) == (2, 4.0, "float32", [7])
    assert (again.size.height, again.size.width) == (64, 64)
    assert again.export.colormap == "gray"
    done = script("generate", "--config", tmp_path / "a" / "promptattn.yaml", "--out", tmp_path / "b")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a" / "image.png").read_bytes() == (tmp_path / "b" / "image.png").read_bytes()
    first, second = (HeatMaps.load(tmp_path / name) for name in "ab")
    for one, other in zip(first.records, second.records, strict=True):
        assert np.array_equal(one.mass, other.mass)


def test_the_image_is_that_of_the_api(saved):
    made = promptattn.generate("shapes", "a red cat and a blue cat", seed=7, num_inference_steps=2)
    stored = np.asarray(Image.open(saved / "image_0" / "image.png"), float)
    assert np.abs(stored - np.asarray(made.images[0], float)).max() <= 1  # the batch of two rounds differently
    np.testing.assert_allclose(HeatMaps.load(saved).image(0)["red"].array, made.maps["red"].array, atol=1e-4)


def test_everything_of_a_config_reaches_the_run(script, tmp_path):
    (tmp_path / "my.yaml").write_text(
        """
        model: shapes
        scheduler: {name: EulerDiscreteScheduler, options: {use_karras_sigmas: true}}
        steps: 3
        guidance: 2
        size: {height: 48, width: 72}
        prompt: [un gato rojo, un ratón (gris:1.5)]
        negative_prompt: azul
        weighting: {where: denoiser, strength: exact, layers: up_blocks, steps: {start: 0, stop: 2}}
        capture: {words: [gato, gris], layers: mid_block, steps: [1], per_step: true, patches: [[0.5, 0.5]]}
        export: {formats: [npz, gray16]}
        """,
        encoding="utf-8",
    )
    done = script("generate", "-c", tmp_path / "my.yaml", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    maps = HeatMaps.load(tmp_path / "out")
    assert maps.image_size == (48, 72)
    assert len(maps) == 2
    assert maps.image(0)["gato"].array.shape == maps.image(1)["gris"].array.shape == (48, 72)
    assert all(name.startswith("mid_block") for name in maps.layers)
    assert all(record.step_numbers == (1,) for record in maps.records)
    assert {patch.patch for patch in maps.patches} == {(0.5, 0.5)}
    meta = maps.meta
    assert (meta["where"], meta["strength"], meta["guidance_scale"], meta["num_inference_steps"]) == (
        "denoiser",
        "exact",
        2.0,
        3,
    )
    assert meta["negative_prompt"] == ["azul", "azul"]
    assert meta["weighted_prompts"] == ["un gato rojo", "un ratón (gris:1.5)"]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"image_0", "image_1", "maps.json", "maps.npz", "promptattn.yaml"}
    written = {path.name for path in (tmp_path / "out" / "image_0" / "words").iterdir()}
    assert written == {"001_gato.map.png"}
    assert load_config(tmp_path / "out" / "promptattn.yaml").scheduler.options == {"use_karras_sigmas": True}


def test_several_seeds_have_a_folder_each(script, tmp_path):
    done = script("generate", *FAST, "--set", "seed=[7, 11]", "--set", "export.formats=npz", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"seed_7", "seed_11", "promptattn.yaml"}
    alone = script("generate", *FAST, "--seed", "11", "--no-maps", "-o", tmp_path / "alone")
    assert alone.exit_code == 0, alone.output
    assert {path.name for path in (tmp_path / "alone").iterdir()} == {"image.png", "settings.json", "promptattn.yaml"}
    images = [Image.open(folder / "image.png") for folder in (tmp_path / "out" / "seed_11", tmp_path / "alone")]
    assert images[0].tobytes() == images[1].tobytes()
    assert json.loads((tmp_path / "alone" / "settings.json").read_text())["seed"] == 11
    done = script("generate", *FAST, "--no-maps", "--force", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "out" / "seed_7").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--set", "weighting.strenght=4"],
            2,
            "--set weighting.strenght is no setting; did you mean weighting.strength?",
        ),
        (["--set", "scheduler=Euler"], 2, "did you mean EulerDiscreteScheduler?"),
        (["--set", "scheduler=FlowMatchEulerDiscreteScheduler"], 2, "does not fit StableDiffusionPipeline"),
        (["--set", "weighting.layers=nowhere"], 2, "is called 'nowhere'; near it are"),
        (["--set", "capture.words=perro"], 1, "there is no 'perro' in this prompt"),
        (["--set", "export.words=perro"], 1, "there is no 'perro' in this prompt"),
        (["--model", "sdlx"], 1, "did you mean sdxl?"),
        (["--model", "sdxl"], 1, "is not in the local cache, and offline mode is on"),
        (["--dtype", "int8"], 2, "--dtype must be one of auto, float32"),
        (["--device", "cuda:99"], 2, "device=cuda:99"),
        (["--height", "65"], 2, "multiple of 8"),
        (["--config", "none.yaml"], 2, "there is no config file none.yaml"),
    ],
    ids=str,
)
def test_failures_are_told_and_leave_nothing(script, tmp_path, arguments, code, message):
    done = script("generate", *FAST, "--out", tmp_path / "deep" / "out", *arguments)
    assert done.exit_code == code, done.output
    assert message in one_line(done)
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_is_needed(script, tmp_path):
    done = script("generate", "--model", "no-such-model", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "there is no prompt: give one on the command line, or as 'prompt' in the config" in one_line(done)


def test_a_failure_in_the_second_seed_leaves_nothing_of_the_first(script, tmp_path, monkeypatch):
    import promptattn.run.from_config as runner

    whole = runner.generate

    def fails(*arguments, seed, **options):
        if seed == 8:
            assert any(path.name == "image.png" for path in tmp_path.rglob("*"))  # the first is written by now
            raise promptattn.CaptureError("half-way")
        return whole(*arguments, seed=seed, **options)

    monkeypatch.setattr(runner, "generate", fails)
    done = script("generate", *FAST, "--set", "seed=[7, 8]", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "half-way" in done.output
    assert list(tmp_path.iterdir()) == []


def test_maps_switch_on_and_off_over_a_config(script, tmp_path):
    for switch, there in (("--maps", True), ("--no-maps", False)):
        folder = tmp_path / switch
        done = script(
            "generate", *FAST, "--set", f"capture={str(not there).lower()}", "--set", "export.formats=npz", switch,
            "--out", folder,
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        assert (folder / "maps.npz").exists() == there
