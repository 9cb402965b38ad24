"""A dropped image: its prompt and settings, and a word on what could not be taken over."""

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from promptattn.app.dropped import read_dropped
from promptattn.app.offered import OWN
from promptattn.app.runs import Wish
from promptattn.errors import ExportError
from promptattn.export import write_image

MODELS = ("shapes", "shapes-dit")
SHOWN = Wish("shapes", negative="gris", seed=3, steps=12, guidance=4.0, strength=2.0)
SETTINGS = {
    "prompt": ["un (gato:1.4)"],
    "negative_prompt": ["azul"],
    "syntax": "a1111",
    "seed": 7,
    "num_images_per_prompt": 1,
    "num_inference_steps": 5,
    "guidance_scale": 2.5,
    "height": 64,
    "width": 64,
    "weighting": "attention",
    "where": "denoiser",
    "strength": "exact",
    "model": "shapes",
    "scheduler": {"name": "EulerDiscreteScheduler", "options": {}},
}


def dropped(folder, *, most_bytes=10**6, **changed):
    file = folder / "gato.png"
    write_image(Image.new("RGB", (64, 64)), file, {**SETTINGS, **changed}, 0)
    return read_dropped(file, MODELS, SHOWN, most_bytes=most_bytes)


def test_prompt_and_settings_come_back(tmp_path):
    found = dropped(tmp_path)
    assert found.prompt == "un (gato:1.4)"
    assert found.wish == Wish(
        "shapes",
        negative="azul",
        sampler="EulerDiscreteScheduler",
        seed=7,
        steps=5,
        guidance=2.5,
        height=64,
        width=64,
        where="denoiser",
        strength="exact",
    )
    assert not [note for note in found.notes if "rounds" not in note and "may round" not in note]


def test_a_parameters_text_of_a1111_comes_back_and_the_rest_stays(tmp_path):
    texts = PngInfo()
    texts.add_text("parameters", "a (red:1.2) cat\nNegative prompt: blue\nSteps: 9, Sampler: Euler a, Seed: 5")
    Image.new("RGB", (64, 64)).save(tmp_path / "theirs.png", pnginfo=texts)
    found = read_dropped(tmp_path / "theirs.png", MODELS, SHOWN, most_bytes=10**6)
    assert found.prompt == "a (red:1.2) cat"
    assert (found.wish.seed, found.wish.steps, found.wish.model) == (5, 9, "shapes")
    assert found.wish.sampler == "EulerAncestralDiscreteScheduler"
    assert found.wish.guidance == SHOWN.guidance


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "somebody/elses"}, "'somebody/elses', which is not offered here; the model stays shapes"),
        ({"clip_skip": 2}, "no control for clip_skip, which was 2"),
        ({"layers": ["mid_block"]}, "no control for layers, which was ['mid_block']"),
        ({"scheduler": {"name": "NoScheduler"}}, "its sampler NoScheduler does not fit shapes"),
        (
            {"model": "shapes-dit", "scheduler": {"name": "DDIMScheduler"}},
            "its sampler DDIMScheduler does not fit shapes-dit",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_said(tmp_path, changed, said):
    found = dropped(tmp_path, **changed)
    assert any(said in note for note in found.notes)
    if "scheduler" in changed:
        assert found.wish.sampler == OWN


@pytest.mark.parametrize("value", [-1, "x", None, {}])
def test_a_seed_that_is_none_stays_as_it_is_shown(tmp_path, value):
    file = tmp_path / "odd.png"
    write_image(Image.new("RGB", (64, 64)), file, SETTINGS, 0)
    record = json.loads(Image.open(file).text["promptattn"])
    texts = PngInfo()
    changed = json.dumps(record).replace('"seed": 7', f'"seed": {json.dumps(value)}')
    assert changed != json.dumps(record)
    texts.add_text("promptattn", changed)
    Image.new("RGB", (64, 64)).save(file, pnginfo=texts)
    try:
        found = read_dropped(file, MODELS, SHOWN, most_bytes=10**6)
    except ExportError:  # our own JSON is read as it was written, or not at all
        return
    assert found.wish.seed == SHOWN.seed


def test_a_file_that_is_too_large_is_not_opened(tmp_path):
    with pytest.raises(ExportError, match=r"^The image has 0\.0 MB; 0 MB are read at most\.$"):
        dropped(tmp_path, most_bytes=100)


def test_where_the_server_put_the_file_is_not_told(tmp_path):
    (tmp_path / "not.png").write_bytes(b"no image")
    with pytest.raises(ExportError) as refused:
        read_dropped(tmp_path / "not.png", MODELS, SHOWN, most_bytes=10**6)
    assert "not.png" in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
