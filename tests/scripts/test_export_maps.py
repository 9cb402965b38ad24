"""scripts/export_maps.py: other words, layers, steps and kinds of files of what a run recorded."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from promptattn import CaptureError, HeatMaps
from promptattn.export import FORMATS, select

PROMPT = "a red cat and a blue cat"


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def maps(saved):
    return HeatMaps.load(saved)


def test_chosen_words_are_the_recorded_ones(script, saved, maps, tmp_path):
    done = script(
        "export_maps", saved, "--words", "red", "--words", "[cat, 1]", "--formats", "gray16", "--formats", "npz",
        "--out", tmp_path / "few",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert files(tmp_path / "few") >= {"maps.json", "maps.npz", "image_0/image.png", "image_1/words/001_red.map.png"}
    words = {path.name for path in (tmp_path / "few" / "image_0" / "words").iterdir()}
    assert words == {"001_red.map.png", "006_cat.map.png"}
    few = HeatMaps.load(tmp_path / "few")
    for image in range(2):
        for key in ("red", ("cat", 1)):
            for layer in maps.layers:
                assert np.array_equal(few.image(image)[key].at_layer(layer), maps.image(image)[key].at_layer(layer)), (
                    key,
                    layer,
                )
    with pytest.raises(CaptureError, match="'blue' has no map: it was not captured"):
        few.image(0)["blue"]
    entries = json.loads((tmp_path / "few" / "maps.json").read_text())["pictures"]
    red = next(
        entry for entry in entries if entry["label"] == "red" and entry["image"] == 1 and entry["kind"] == "word"
    )
    with Image.open(tmp_path / "few" / red["file"]) as stored:
        mass = np.asarray(stored) / 65535 * red["mass_at_65535"]
    np.testing.assert_allclose(mass, few.image(1)["red"].array, atol=red["mass_at_65535"] / 65535)
    assert "overlay" not in red


def test_chosen_layers_and_steps(script, saved, maps, tmp_path):
    done = script(
        "export_maps", saved / "maps.npz", "--layers", "up_blocks", "--layers", "mid*", "--steps", "1",
        "--formats", "safetensors", "--combine", "finest", "--out", tmp_path / "part",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    part = HeatMaps.load(tmp_path / "part")
    assert set(part.layers) == {name for name in maps.layers if name.startswith(("up_blocks", "mid_block"))}
    assert len(part.layers) < len(maps.layers)
    assert part.rule == "finest"
    for record in part.records:
        whole = next(each for each in maps.records if each.name == record.name)
        assert record.step_numbers == (1,)
        np.testing.assert_array_equal(record.mass, whole.per_step[whole.step_numbers.index(1)])


def test_the_mean_over_all_steps_is_the_whole(maps):
    both = select(maps, steps=(0.0, 1.0))
    for record, whole in zip(both.records, maps.records, strict=True):
        np.testing.assert_allclose(record.mass, whole.mass, atol=1e-6)


@pytest.mark.parametrize("kind", FORMATS)
def test_each_kind_of_file_comes_alone(script, saved, tmp_path, kind):
    done = script("export_maps", saved, "--formats", kind, "--words", "red", "--out", tmp_path / kind)
    assert done.exit_code == 0, done.output
    made = {name.removeprefix("image_0/") for name in files(tmp_path / kind) if not name.startswith("image_1/")}
    expected = {
        "overlay": {"words/001_red.overlay.png"},
        "gray16": {"words/001_red.map.png"},
        "sheet": {"contact_sheet.png", "text_attention.png"},
        "npz": {"maps.npz"},
        "safetensors": {"maps.safetensors"},
        "viewer": {"index.html"},
    }[kind]
    tokens = {name for name in made if name.startswith("tokens/")}
    assert made - tokens == expected | {"image.png", "maps.json", "promptattn.yaml"}
    assert bool(tokens) == (kind in ("overlay", "gray16"))


def test_an_export_may_replace_the_folder_it_comes_from(script, saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    done = script("export_maps", tmp_path / "run", "--formats", "npz", "--out", tmp_path / "run")
    assert done.exit_code == 1
    assert "already exists and is kept" in " ".join(done.output.split())
    done = script("export_maps", tmp_path / "run", "--formats", "npz", "--out", tmp_path / "run", "--force")
    assert done.exit_code == 0, done.output
    assert files(tmp_path / "run") == {
        "maps.json",
        "maps.npz",
        "promptattn.yaml",
        "image_0/image.png",
        "image_1/image.png",
    }


def test_seeds_are_exported_one_by_one(script, saved, tmp_path):
    for seed in (3, 4):
        shutil.copytree(saved, tmp_path / "run" / f"seed_{seed}")
    done = script("export_maps", tmp_path / "run", "--formats", "npz", "--words", "red", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"seed_3", "seed_4"}
    assert "red" in HeatMaps.load(tmp_path / "out" / "seed_4").image(1)


def test_a_picture_of_ones_own(script, saved, tmp_path):
    Image.new("RGB", (80, 80), (0, 90, 0)).save(tmp_path / "green.png")
    pictures = ("--image", tmp_path / "green.png")
    common = ("export_maps", saved, "--formats", "overlay", "--words", "red", "--out", tmp_path / "out")
    done = script(*common, *pictures)
    assert done.exit_code == 1
    assert "maps are of 2 images, but 1 were given" in " ".join(done.output.split())
    done = script(*common, *pictures, *pictures)
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "out" / "image_0" / "words" / "001_red.overlay.png") as overlay:
        assert overlay.size == (80, 80)


def test_a_config_is_run_first(script, tmp_path):
    (tmp_path / "my.yaml").write_text("model: shapes\nsteps: 2\nprompt: un gato rojo\ncapture: {layers: mid_block}")
    done = script(
        "export_maps", tmp_path / "my.yaml", "--words", "gato", "--formats", "overlay", "--set", "seed=5",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert files(tmp_path / "out") >= {"image.png", "maps.json", "promptattn.yaml", "words/001_gato.overlay.png"}
    assert not any("rojo" in name for name in files(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "maps.json").read_text())["meta"]["seed"] == 5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--words", "perro"], 1, "there is no 'perro' in this prompt"),
        (["--words", "[cat, 7]"], 1, "'cat' stands 2 times in this prompt"),
        (["--layers", "up_block"], 2, "is called 'up_block'; near it are up_blocks"),
        (["--steps", "9"], 1, "selects none of the recorded steps: 0, 1"),
        (["--steps", "[0.0, 0.5]"], 2, "--steps must be a list of step numbers"),
        (["--formats", "jpeg"], 2, "--formats must be one of overlay, gray16"),
        (["--alpha", "3"], 2, "--alpha must be at most 1, not 3"),
        (["--colormap", "jet"], 2, "--colormap must be one of"),
        (["--combine", "meen"], 2, "did you mean mean?"),
        (["--set", "seed=3"], 2, "--set needs a config (.yaml)"),
        (["--image", "none.png"], 1, "the image 'none.png' cannot be read: No such file"),
    ],
    ids=str,
)
def test_failures_are_told_and_leave_nothing(script, saved, tmp_path, arguments, code, message):
    done = script("export_maps", saved, "--out", tmp_path / "out", *arguments)
    assert done.exit_code == code, done.output
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_what_holds_no_maps_is_said(script, tmp_path):
    done = script("export_maps", tmp_path / "nothing", "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "There are no maps at" in " ".join(done.output.split())


def test_steps_that_were_not_kept_apart_are_said(maps):
    import dataclasses

    records = tuple(dataclasses.replace(record, per_step=None, steps=None) for record in maps.records)
    with pytest.raises(CaptureError, match="steps were not kept apart in this run"):
        select(dataclasses.replace(maps, records=records), steps=[0])


def test_words_of_several_prompts_are_chosen_in_each(tmp_path):
    import promptattn

    made = promptattn.generate("shapes", ["a red cat", "a blue star and a cat"], num_inference_steps=1)
    few = select(made.maps, words=["cat", "star"])
    for image, words in ((0, ["cat"]), (1, ["cat", "star"])):
        one, whole = few.image(image), made.maps.image(image)
        for word in words:
            for layer in whole.layers:
                np.testing.assert_array_equal(one[word].at_layer(layer), whole[word].at_layer(layer))
        with pytest.raises(CaptureError, match="was not captured"):
            one["a"]
