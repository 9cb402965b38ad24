"""A dropped image: its prompt and settings, and a word on what could not be taken over."""

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from promptattn.app.dropped import read_dropped
from promptattn.app.runs import Wish
from promptattn.app.samplers import OWN
from promptattn.errors import ExportError
from promptattn.export import write_image

MODELS = ("shapes", "shapes-dit")
SHOWN = Wish("shapes", negative="gris", seed=3, steps=12, guidance=4.0, height=64, width=64, strength=2.0)
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


def dropped(folder, *, most_bytes=10**6, size=(64, 64), **changed):
    file = folder / "gato.png"
    write_image(Image.new("RGB", size), file, {**SETTINGS, **changed}, 0)
    return read_dropped(file, MODELS, SHOWN, most_bytes=most_bytes)


def test_prompt_and_settings_come_back(tmp_path):
    found = dropped(tmp_path)
    assert found.prompt == "un (gato:1.4)"
    assert found.wish == Wish(
        "shapes",
        negative="azul",
        sampler="Euler",
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
    assert found.wish.sampler == "Euler a"
    assert found.wish.guidance == SHOWN.guidance


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "somebody/elses"}, "'somebody/elses', which is not offered here; the model stays shapes"),
        ({"clip_skip": 2}, "no control for clip_skip, which was 2"),
        ({"layers": ["mid_block"]}, "no control for layers, which was ['mid_block']"),
        (
            {"size": (512, 768), "width": 512, "height": 768},
            "512 x 768 pixels are more than shapes makes here, 256 a side; the size stays",
        ),
        ({"weighting": "magic"}, "its weighting, 'magic', is none that the page knows; it stays attention"),
        (
            {"scheduler": {"name": "EulerDiscreteScheduler", "options": {"timestep_spacing": "linspace"}}},
            "its sampler had other options, which stay as shapes has them: timestep_spacing ('linspace')",
        ),
        (
            {"scheduler": {"name": "EulerDiscreteScheduler", "options": {"use_exponential_sigmas": True}}},
            "its sampler had other options, which stay as shapes has them: use_exponential_sigmas (True)",
        ),
        ({"syntax": ["a1111"]}, "its syntax, ['a1111'], is none that the page knows; it stays a1111"),
        ({"scheduler": {"name": "NoScheduler"}}, "its sampler NoScheduler does not fit shapes"),
        (
            {"model": "shapes-dit", "scheduler": {"name": "DDIMScheduler"}},
            "its sampler DDIM does not fit shapes-dit",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_said(tmp_path, changed, said):
    found = dropped(tmp_path, **changed)
    assert any(said in note for note in found.notes)
    if "does not fit" in said:
        assert found.wish.sampler == OWN
    assert (found.wish.width, found.wish.height, found.wish.method) == (64, 64, "attention")


def test_karras_sigmas_are_taken_over_by_the_name_of_the_sampler(tmp_path):
    options = {"use_karras_sigmas": True}
    found = dropped(tmp_path, scheduler={"name": "DPMSolverMultistepScheduler", "options": options})
    assert found.wish.sampler == "DPM++ 2M Karras"
    assert not [note for note in found.notes if "sampler" in note]


def test_an_image_of_the_page_itself_comes_back_without_a_word_on_its_sampler(tmp_path):
    import promptattn
    from promptattn.run.loading.schedulers import set_scheduler

    pipe = promptattn.load("shapes")
    set_scheduler(pipe, "EulerDiscreteScheduler", {"use_karras_sigmas": True})
    made = promptattn.generate(pipe, "a cat", num_inference_steps=1, capture=False)
    found = read_dropped(made.save_image(tmp_path / "own.png"), MODELS, SHOWN, most_bytes=10**6)
    assert found.wish.sampler == "Euler Karras"
    assert not [note for note in found.notes if "sampler" in note]


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


@pytest.mark.parametrize("value", [["exact"], {}, True, "sharp"])
def test_a_strength_that_is_none_stays_as_it_is_shown(tmp_path, value):
    assert dropped(tmp_path, strength=value).wish.strength == SHOWN.strength


def test_a_file_that_is_too_large_is_not_opened(tmp_path):
    with pytest.raises(ExportError, match=r"^gato\.png has 0\.0 MB, and 0 MB are taken at most \(--max-upload-mb\)\.$"):
        dropped(tmp_path, most_bytes=100)


def test_where_the_server_put_the_file_is_not_told(tmp_path):
    (tmp_path / "not.png").write_bytes(b"no image")
    with pytest.raises(ExportError) as refused:
        read_dropped(tmp_path / "not.png", MODELS, SHOWN, most_bytes=10**6)
    assert "not.png" in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
