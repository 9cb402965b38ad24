"""Maps on disk: both formats are exact and whole, and the description says what is in them."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from synthetic import demo

from promptattn.errors import ExportError
from promptattn.export import load
from promptattn.maps import HeatMaps


def assert_same(read, maps):
    assert read.prompts == maps.prompts
    assert (read.image_size, read.prompt_index) == (maps.image_size, maps.prompt_index)
    assert read.meta == maps.meta
    assert read.layers == maps.layers
    parts = [(*single.records, *single.patches, *single.text_attention) for single in (read, maps)]
    for one, other in zip(*parts, strict=True):
        for field in dataclasses.fields(other):
            left, right = getattr(one, field.name), getattr(other, field.name)
            if isinstance(right, np.ndarray):
                assert left.dtype == np.float32
                np.testing.assert_array_equal(left, right)
            elif field.name != "steps":
                assert left == right


@pytest.mark.parametrize("file", ["", "maps.npz", "maps.safetensors"])
def test_reading_back_is_exact(exported, file):
    maps, folder = exported
    read = HeatMaps.load(folder / file)
    assert len(read.patches) == len(read.text_attention) == 1
    assert_same(read, maps)
    np.testing.assert_array_equal(read["gato rojo"].array, maps["gato rojo"].array)
    np.testing.assert_array_equal(read.step(1)["gato"].array, maps.step(1)["gato"].array)


def test_a_batch_is_read_back(tmp_path):
    maps = demo(images=2)
    assert_same(load(maps.save(tmp_path / "out")), maps)


def test_step_numbers_are_read_back(tmp_path):
    maps = demo(steps=2)
    layers = tuple(dataclasses.replace(layer, steps=(10, 19)) for layer in maps.records)
    folder = dataclasses.replace(maps, records=layers).save(tmp_path / "out")
    assert load(folder).records[0].steps == (10, 19)


def test_a_name_is_all_that_numpy_needs(exported):
    maps, folder = exported
    name = maps.layers[0]
    with np.load(folder / "maps.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays[f"attention/{name}"], maps.records[0].mass)


def test_the_description(exported):
    maps, folder = exported
    description = json.loads((folder / "maps.json").read_text(encoding="utf-8"))
    assert (description["format"], description["version"]) == ("promptattn-maps", 1)
    prompt = description["prompts"][0]
    assert prompt["text"] == maps.prompt.text
    assert [word["text"] for word in prompt["words"]][6] == "ratón"
    assert [word["weight"] for word in prompt["words"]][2] == 1.4
    assert description["meta"] == {"model": "synthetic", "seed": 7, "steps": 20, "versions": {"promptattn": "0.1.0"}}
    with safe_open(folder / "maps.safetensors", framework="numpy") as stored:
        assert json.loads(stored.metadata()["description"]) == description
        shapes = {name: list(stored.get_tensor(name).shape) for name in stored.keys()}  # noqa: SIM118
    assert description["shapes"] == shapes
    with np.load(folder / "maps.npz", allow_pickle=False) as stored:
        assert json.loads(str(stored["description"])) == description


def test_any_text_can_be_saved(tmp_path):
    text = "🐱 قطة \ud800 \u2028 'quotes\" \\ back"
    maps = demo(text=text)
    read = load(maps.save(tmp_path / "out"))
    assert read.prompts == maps.prompts
    assert json.loads((tmp_path / "out" / "maps.json").read_text(encoding="utf-8"))["prompts"][0]["text"] == text


def test_what_json_cannot_hold_is_told_and_nothing_is_left(tmp_path, maps):
    for value in (object(), float("nan")):
        with pytest.raises(ExportError, match="meta holds a value that JSON cannot hold"):
            dataclasses.replace(maps, meta={"model": value}).save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_fields_of_newer_writers_are_passed_over(tmp_path, exported):
    _, folder = exported
    with safe_open(folder / "maps.safetensors", framework="numpy") as stored:
        arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        description = json.loads(stored.metadata()["description"])
    description["prompts"][0]["words"][0]["mood"] = "calm"
    save_file(arrays, tmp_path / "new.safetensors", metadata={"description": json.dumps(description)})
    assert load(tmp_path / "new.safetensors").words[0].text == "un"
    description["version"] = 2
    save_file(arrays, tmp_path / "new.safetensors", metadata={"description": json.dumps(description)})
    with pytest.raises(ExportError, match="version 2; this promptattn reads 'promptattn-maps' version 1"):
        load(tmp_path / "new.safetensors")


def test_what_holds_no_maps_is_told(tmp_path):
    with pytest.raises(ExportError, match="There are no maps at"):
        load(tmp_path)
    for name, content in [("a.npz", b"PK not a zip"), ("a.safetensors", b"nothing"), ("a.txt", b"\x00" * 40)]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ExportError, match="does not hold maps that can be read"):
            load(tmp_path / name)
    np.savez(tmp_path / "b.npz", other=np.zeros(3))
    save_file({"other": np.zeros(3)}, tmp_path / "b.safetensors")
    for name in ("b.npz", "b.safetensors"):
        with pytest.raises(ExportError, match="does not hold maps that can be read"):
            load(tmp_path / name)
