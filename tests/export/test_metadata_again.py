"""Images made again: from our own JSON to the bit, from A1111's text as near as can be."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

import promptattn
from promptattn.cli import app
from promptattn.errors import ConfigError, PromptAttnWarning
from promptattn.export import read_image
from promptattn.export.metadata import IN_CONFIG
from promptattn.prompt import parse
from promptattn.run.from_config import run_config
from promptattn.run.from_image import config_from_image

PROMPT = "un gato (rojo:1.4) persigue a un ratón gris"
FAST = ["--steps", "2", "--no-maps"]


def command(*arguments):
    done = CliRunner().invoke(app, ["generate", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def a1111(path, text):
    info = PngInfo()
    info.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with an image of settings that are nobody's defaults."""
    folder = tmp_path_factory.mktemp("made") / "out"
    command(
        *(PROMPT, "-n", "azul", "--seed", 11, "--guidance", 3, "--where", "both", "--strength", 2, "--steps", 3),
        *("--height", 48, "--width", 72, "--out", folder, "--set", "weighting.steps={start: 0.0, stop: 0.5}"),
        *("--set", "scheduler={name: EulerDiscreteScheduler, options: {use_karras_sigmas: true}}"),
    )
    return folder


def test_from_our_own_image_the_same_pixels_come_out(made, tmp_path):
    told = command("--from", made / "image.png", "--out", tmp_path / "again")
    assert np.array_equal(pixels(made / "image.png"), pixels(tmp_path / "again" / "image.png"))
    assert "warning" not in told
    first, second = (read_image(folder / "image.png") for folder in (made, tmp_path / "again"))
    assert first.settings == second.settings


def test_every_setting_of_a_generation_is_recorded():
    generation = promptattn.generate("shapes", PROMPT, num_inference_steps=1, capture=False)
    assert generation.settings.keys() <= IN_CONFIG.keys()
    json.dumps(generation.settings, allow_nan=False)


def test_options_go_over_the_image_and_the_image_over_a_config(made, tmp_path):
    config = tmp_path / "my.yaml"
    config.write_text("steps: 9\nguidance: 9\nclip_skip: 1\nexport: {alpha: 0.5}\n")
    found, _ = config_from_image(made / "image.png", config, ["guidance=5"], [("--seed", "seed", 3)])
    assert (found.steps, found.guidance, found.seed, found.export.alpha) == (3, 5.0, [3], 0.5)
    assert found.clip_skip is None  # the image was made without, and says so
    assert (found.prompt, found.negative_prompt) == ([PROMPT], ["azul"])
    assert (found.weighting.where, found.weighting.strength, found.weighting.steps) == ("both", 2.0, (0.0, 0.5))
    assert found.scheduler.options["use_karras_sigmas"] is True


def test_a_user_who_names_the_weighting_decides_all_of_it(made):
    found, _ = config_from_image(made / "image.png", None, (), [("--method", "weighting.method", "comfy")])
    assert (found.weighting.method, found.weighting.where, found.weighting.strength) == ("comfy", "auto", None)


def test_another_model_keeps_its_own_scheduler(made):
    found, notes = config_from_image(made / "image.png", None, (), [("--model", "model", "shapes-dit")])
    assert (found.model.name, found.scheduler) == ("shapes-dit", None)
    assert any("keeps its own scheduler" in str(note) for note in notes)


def test_images_of_a_batch_are_made_alone_or_together(tmp_path):
    batch = promptattn.generate("shapes", PROMPT, seed=5, num_inference_steps=2, num_images_per_prompt=2, capture=False)
    batch.save(tmp_path / "batch")
    path = tmp_path / "batch" / "image_1.png"
    told = command("--from", path, "--no-maps", "--out", tmp_path / "alone")
    assert "number 1 of a batch of 2" in told
    off = np.abs(pixels(path).astype(int) - pixels(tmp_path / "alone" / "image.png"))
    assert off.max() <= 1
    command("--from", path, "--seed", 5, "--images", 2, "--no-maps", "--out", tmp_path / "both")
    assert np.array_equal(pixels(path), pixels(tmp_path / "both" / "image_1.png"))


def test_each_image_of_prompts_and_seeds_is_its_own(tmp_path):
    pipe = promptattn.load("shapes")
    batch = promptattn.generate(
        pipe, [PROMPT, "a blue star"], ["x", "y"], seed=[9, 4], num_inference_steps=1, capture=False
    )
    batch.save(tmp_path / "batch")
    read = read_image(tmp_path / "batch" / "image_1.png")
    assert (read.prompt, read.negative_prompt, read.settings["seed"]) == ("a blue star", "y", 4)


def test_with_maps_images_hold_their_settings_too_and_pictures_of_maps_do_not(tmp_path):
    promptattn.generate("shapes", "a cat", num_inference_steps=1, num_images_per_prompt=2).save(tmp_path / "out")
    assert read_image(tmp_path / "out" / "image_1" / "image.png").settings["seed"] == 1
    with Image.open(tmp_path / "out" / "image_1" / "contact_sheet.png") as sheet:
        assert sheet.text == {}
    exported = CliRunner().invoke(app, ["export", str(tmp_path / "out"), "--out", str(tmp_path / "more")])
    assert exported.exit_code == 0, exported.output
    assert read_image(tmp_path / "more" / "image_1" / "image.png").settings["seed"] == 1


def test_a_jpeg_is_read_like_a_png(tmp_path):
    generation = promptattn.generate("shapes", PROMPT, num_inference_steps=1, capture=False)
    generation.save_image(tmp_path / "cat.jpg", quality=80)
    generation.save_image(tmp_path / "cat.png")
    assert read_image(tmp_path / "cat.jpg").settings == read_image(tmp_path / "cat.png").settings
    generation.save_image(tmp_path / "bare.png", metadata=False)
    with Image.open(tmp_path / "bare.png") as image:
        assert image.text == {}
        assert np.array_equal(np.asarray(image), pixels(tmp_path / "cat.png"))


@pytest.mark.parametrize("maps", ["--maps", "--no-maps"])
def test_without_metadata_there_is_none_at_all(tmp_path, maps):
    command("a cat", "--steps", 1, maps, "--no-metadata", "--out", tmp_path / "out")
    assert b"tEXt" not in (tmp_path / "out" / "image.png").read_bytes()
    assert b"iTXt" not in (tmp_path / "out" / "image.png").read_bytes()
    assert "metadata: false" in (tmp_path / "out" / "promptattn.yaml").read_text(encoding="utf-8")


TEXT = (
    "un gato (rojo:1.3) persigue a un ratón gris\nNegative prompt: azul\nSteps: 2, Sampler: Euler, Schedule type:"
    " Karras, CFG scale: 3, Seed: 5, Size: 72x48, Model hash: 6ce0161689, Model: toon, Clip skip: 1, Hires upscale: 2"
)


def test_from_a_text_of_a1111_the_same_is_made_as_by_hand(tmp_path):
    path = a1111(tmp_path / "x.png", TEXT)
    told = command("--from", path, "--model", "shapes", "--no-maps", "--out", tmp_path / "out")
    by_hand = [
        *("un gato (rojo:1.3) persigue a un ratón gris", "-n", "azul", "--steps", 2, "--guidance", 3, "--seed", 5),
        *("--width", 72, "--height", 48, "--method", "a1111", "--no-maps", "--out", tmp_path / "hand"),
        *("--set", "scheduler={name: EulerDiscreteScheduler, options: {use_karras_sigmas: true}}"),
    ]
    command(*by_hand)
    assert np.array_equal(pixels(tmp_path / "out" / "image.png"), pixels(tmp_path / "hand" / "image.png"))
    for said in ("noise", "Hires upscale: 2", "--method attention", "model is toon, 6ce0161689"):
        assert said in told


def test_a_sampler_that_does_not_fit_the_model_gives_way_to_its_own(tmp_path):
    path = a1111(tmp_path / "x.png", TEXT)
    config, notes = config_from_image(path, options=[("--model", "model", "shapes-dit")])
    assert config.scheduler is None
    assert "does not fit shapes-dit; its own FlowMatchEulerDiscreteScheduler" in str(
        next(note for note in notes if note.code == "sampler")
    )
    named = ["scheduler={name: FlowMatchHeunDiscreteScheduler}"]
    config, notes = config_from_image(path, sets=named, options=[("--model", "model", "shapes-dit")])
    assert config.scheduler.name == "FlowMatchHeunDiscreteScheduler"
    config, notes = config_from_image(path, options=[("--model", "model", "shapes")])
    assert config.scheduler.name == "EulerDiscreteScheduler"
    assert "sampler" not in [note.code for note in notes]


def test_the_word_and_of_an_a1111_negative_prompt_stays_a_word(tmp_path):
    path = a1111(tmp_path / "x.png", TEXT.replace("azul", "azul AND gris"))
    config, notes = config_from_image(path, options=[("--model", "model", "shapes")])
    assert parse(config.negative_prompt[0]).text == "azul AND gris"
    assert "negative-and" in [note.code for note in notes]


def test_the_model_of_an_a1111_image_is_asked_for(tmp_path):
    path = a1111(tmp_path / "x.png", TEXT)
    with pytest.raises(ConfigError, match=r"x\.png was made by 'toon', which is neither a preset .*--model"):
        config_from_image(path)
    (tmp_path / "my.yaml").write_text("model: shapes\n")
    assert config_from_image(path, tmp_path / "my.yaml")[0].model.name == "shapes"


def test_a_folder_that_our_image_names_is_used_if_it_is_there(tmp_path):
    record = {"format": "promptattn-image", "version": 1, "image": 0}
    record["settings"] = {"prompt": ["a cat"], "seed": 1, "model": str(tmp_path / "model")}
    info = PngInfo()
    info.add_text("promptattn", json.dumps(record))
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png", pnginfo=info)
    with pytest.raises(ConfigError, match="nor a folder here"):
        config_from_image(tmp_path / "x.png")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_index.json").write_text("{}")
    found, notes = config_from_image(tmp_path / "x.png")
    assert found.model.name == str(tmp_path / "model")
    assert "which the image names" in str(notes[0])


def test_what_made_the_image_with_other_versions_is_said(tmp_path, made):
    with Image.open(made / "image.png") as image:
        record = json.loads(image.text["promptattn"])
    record["libraries"]["torch"] = "1.0"
    info = PngInfo()
    info.add_text("promptattn", json.dumps(record))
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png", pnginfo=info)
    assert "made with torch 1.0" in str(read_image(tmp_path / "x.png").diagnostics[0])


def test_a_run_in_python(made, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", PromptAttnWarning)
        found, notes = config_from_image(made / "image.png", options=[("folder", "export.folder", str(tmp_path / "o"))])
        (finished,) = run_config(found)
    assert notes == []
    assert np.array_equal(np.asarray(finished.generation.images[0]), pixels(made / "image.png"))


@pytest.mark.parametrize("metadata", [True, False])
def test_images_of_a_sweep_hold_their_settings(tmp_path, metadata):
    swept = promptattn.sweep("shapes", "a {red,blue} (cat:1.2)", seed=4, num_inference_steps=1, batch=1, capture=False)
    folder = swept.save(tmp_path / "sweep", metadata=metadata)
    blue = sorted((folder / "images").iterdir())[1]
    if metadata:
        assert read_image(blue).prompt == "a blue (cat:1.2)"
        command("--from", blue, "--no-maps", "--out", tmp_path / "again")
        assert np.array_equal(pixels(blue), pixels(tmp_path / "again" / "image.png"))
    else:
        assert b"tEXt" not in blue.read_bytes()


def test_prompts_made_in_code_are_recorded_in_a_syntax_that_has_them(tmp_path):
    from promptattn.prompt import Prompt, Span

    prompt = Prompt((Span("un gato "), Span("rojo", 1.4), Span(" (x)")))
    made = promptattn.generate("shapes", ["a (blue) cat", prompt], num_inference_steps=1, capture=False)
    assert made.settings["prompt"] == ["a (blue) cat", r"un gato (rojo:1.4) \(x\)"]
    assert made.settings["syntax"] == "a1111"
    assert promptattn.parse(made.settings["prompt"][1]) == prompt
