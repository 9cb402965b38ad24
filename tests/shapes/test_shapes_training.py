"""Training: it survives a kill, its pieces agree with the pipeline, and what it exports loads."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from diffusers import StableDiffusionPipeline

from promptattn.shapes import Scene, SceneObject
from promptattn.shapes.captions import compose
from promptattn.shapes.training.loop import StageSettings, train_stage
from promptattn.shapes.training.text import Codes, build_text_encoder, build_tokenizer, read
from promptattn.shapes.training.unet import sample_timesteps
from promptattn.shapes.training.unet_run import SMOKE, train_unet_pipeline

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_shapes.py"


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(400)


def toy_loss(model: torch.nn.Module, step: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    x = torch.from_numpy(rng.standard_normal((8, 3), np.float32))
    loss = (model(x) - x.sum(1, keepdim=True)).square().mean() + 0.01 * torch.rand(())
    return {"loss": loss}


def toy_run(folder: Path, stop: int, settings: StageSettings) -> dict[str, torch.Tensor]:
    """Train to `stop` steps of a schedule of `settings.steps`; stopping early is what a kill leaves behind."""
    folder.mkdir(exist_ok=True)

    class Killed(Exception):
        pass

    def loss(model: torch.nn.Module, step: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        if step == stop:
            raise Killed
        return toy_loss(model, step, rng)

    torch.manual_seed(1)
    try:
        model = train_stage(Accelerator(cpu=True), torch.nn.Linear(3, 1), loss, settings, folder)
    except Killed:
        return {}
    return model.state_dict()


def test_a_killed_stage_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    settings = StageSettings("toy", steps=30, lr=0.05, warmup=3, save_every=4, log_every=5)
    whole = toy_run(tmp_path / "whole", 10**9, settings)
    assert toy_run(tmp_path / "killed", 18, settings) == {}
    assert torch.load(tmp_path / "killed" / "toy.pt", weights_only=True)["step"] == 16
    resumed = toy_run(tmp_path / "killed", 10**9, settings)
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed" / "toy.jsonl").read_text().splitlines()]
    assert steps[-1] == 30


def test_training_learns(tmp_path: Path) -> None:
    settings = StageSettings("toy", steps=200, lr=0.05, warmup=3, save_every=100, log_every=20, weight_decay=0)
    weights = toy_run(tmp_path / "learn", 10**9, settings)
    torch.testing.assert_close(weights["weight"], torch.ones(1, 3), atol=0.05, rtol=0)


def test_the_script_resumes_after_being_killed_and_exports_a_pipeline(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    plan = replace(SMOKE, unet=replace(SMOKE.unet, steps=1, save_every=1))
    train_unet_pipeline(Accelerator(cpu=True), plan, folder, None, lambda text: None)
    before = {name: (folder / f"{name}.pt").read_bytes() for name in ("vae", "text")}
    (folder / "unet.pt.partial").write_bytes(b"cut off in the middle of writing")

    command = [sys.executable, str(SCRIPT), "unet", "--folder", str(folder), "--smoke", "--cpu", "--threads", "1"]
    subprocess.run(command, check=True, capture_output=True)
    assert torch.load(folder / "unet.pt", weights_only=True)["step"] == SMOKE.unet.steps
    assert {name: (folder / f"{name}.pt").read_bytes() for name in before} == before
    steps = [json.loads(line)["step"] for line in (folder / "unet.jsonl").read_text().splitlines()]
    assert steps == list(range(1, SMOKE.unet.steps + 1))

    pipe = StableDiffusionPipeline.from_pretrained(folder / "pipeline", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("un gato rojo", num_inference_steps=2, output_type="np").images[0]
    assert image.shape == (64, 64, 3)
    assert pipe.safety_checker is None
    weights = list((folder / "pipeline").rglob("*.safetensors"))
    assert len(weights) == 3
    from safetensors.torch import load_file

    assert all(value.dtype == torch.float16 for path in weights for value in load_file(path).values())


def test_every_string_has_tokens_and_ids_are_laid_out_as_clips(tokenizer) -> None:
    assert tokenizer.model_max_length == 24
    assert tokenizer.bos_token_id == len(tokenizer) - 2
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == len(tokenizer) - 1
    for text in ("a red cat chasing a gray mouse", "un ratón gris", "¿qué? 😀 ﷺ \x07", "", "ZEBRA 123"):
        tokens = tokenizer(text, return_offsets_mapping=True)
        inner = tokens["input_ids"][1:-1]
        assert tokenizer.eos_token_id not in inner
        for (start, end), token in zip(
            tokens["offset_mapping"][1:-1], tokenizer.convert_ids_to_tokens(inner), strict=True
        ):
            assert end > start, token


def test_words_of_the_world_are_one_token_each() -> None:
    tokenizer = build_tokenizer(4000)
    for text in (
        "a purple triangle left of an orange heart on a beige background",
        "una estrella amarilla encima de un ratón",
    ):
        assert len(tokenizer(text)["input_ids"]) == len(text.split()) + 2


def test_pooling_finds_the_end_token(tokenizer) -> None:
    encoder = build_text_encoder(tokenizer, width=64, layers=1).eval()
    tokens = tokenizer("a red cat", padding="max_length", max_length=24, return_tensors="pt")
    with torch.no_grad():
        out = encoder(input_ids=tokens.input_ids)
    end = int((tokens.input_ids[0] == tokenizer.eos_token_id).nonzero()[0])
    torch.testing.assert_close(out.pooler_output[0], out.last_hidden_state[0, end])


def test_what_each_token_is_taught_to_say(tokenizer) -> None:
    scene = Scene((SceneObject("cat", "red", 16, 32, 24), SceneObject("mouse", "gray", 48, 32, 24)), "white", "chases")
    reading = read(tokenizer, scene, compose(scene, "es"))
    said = [names for names in reading.says if names != ("grammar",)]
    whole = ("relation:chases", "background:white", "behind:red", "ahead:gray")
    assert said[1:6] == [
        ("shape:cat", "first"),
        ("shape:cat", "colour:red", "first"),
        ("relation:chases",),
        ("shape:mouse", "second", "role:chases"),
        ("shape:mouse", "colour:gray", "second", "role:chases"),
    ]
    assert said[6] == ("background:white",)
    assert set(said[7:]) == {whole}
    assert len(reading.ids) == len(reading.says) == 24


def test_codes_are_orthogonal_and_fit_a_layer_norm() -> None:
    codes = Codes(128)
    red_first, red_second = codes.sum(("colour:red", "first")), codes.sum(("colour:red", "second"))
    np.testing.assert_allclose([red_first.mean(), red_first.std()], [0, 1], atol=1e-6)
    assert red_first @ red_second / 128 == pytest.approx(0.5, abs=1e-5)
    assert codes.sum(("colour:blue", "second")) @ red_first == pytest.approx(0, abs=1e-3)


def test_codes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"width must be at least .* not 64"):
        Codes(64)


def test_timesteps_stay_in_range_and_reach_both_ends() -> None:
    steps = sample_timesteps(np.random.default_rng(0), 20_000, 1000)
    assert 0 <= int(steps.min()) < 20
    assert 980 < int(steps.max()) <= 999
