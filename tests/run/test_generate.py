import json
import warnings

import numpy as np
import pytest
import tiny_pipelines as tiny
import torch

import promptattn
from promptattn.errors import ConfigError, PromptAttnWarning, UnsupportedModelError

FAST = dict(num_inference_steps=2, height=16, width=16)


@pytest.fixture(scope="module")
def pipe():
    return tiny.sd()


def test_it_is_the_stock_pipeline_with_the_same_seed(pipe):
    made = promptattn.generate(pipe, "a red cat", seed=3, **FAST)
    stock = pipe("a red cat", generator=torch.Generator().manual_seed(3), **FAST).images[0]
    assert np.array_equal(np.asarray(made.images[0]), np.asarray(stock))
    assert made.maps["cat"].array.shape == (16, 16)
    assert made.settings["seed"] == made.seed == 3
    assert made.maps.meta["seed"] == 3


def test_every_image_of_a_batch_can_be_made_alone(pipe):
    batch = promptattn.generate(pipe, ["a red cat", "a gray mouse"], seed=5, num_images_per_prompt=2, **FAST)
    assert len(batch.images) == len(batch.maps) == 4
    alone = promptattn.generate(pipe, "a gray mouse", seed=8, **FAST)
    difference = np.abs(np.asarray(batch.images[3], float) - np.asarray(alone.images[0], float))
    assert difference.max() <= 1  # a batch rounds differently, by a level at most
    assert batch.maps.image(3)["mouse"].array.max() > 0
    np.testing.assert_allclose(batch.maps.image(3)["mouse"].array, alone.maps["mouse"].array, atol=1e-4)


def test_every_image_can_have_a_seed_of_its_own(pipe):
    made = promptattn.generate(pipe, ["a red cat", "a gray mouse"], seed=[8, 8], **FAST)
    assert made.seed == 8
    assert made.settings["seed"] == [8, 8]
    alone = promptattn.generate(pipe, "a gray mouse", seed=8, **FAST)
    assert np.abs(np.asarray(made.images[1], float) - np.asarray(alone.images[0], float)).max() <= 1
    for seeds, message in (([8], "2 images but 1 seeds"), ([8, -1], "seed=-1")):
        with pytest.raises(ConfigError, match=message):
            promptattn.generate(pipe, ["a red cat", "a gray mouse"], seed=seeds, **FAST)


def test_steps_are_reported(pipe):
    seen = []
    promptattn.generate(pipe, "a cat", on_step=lambda done, total: seen.append((done, total)), **FAST)
    assert seen == [(1, 2), (2, 2)]


def test_what_is_saved_says_how_it_was_made(pipe, tmp_path):
    made = promptattn.generate(pipe, "a (red:1.4) cat", "ugly", seed=7, **FAST)
    folder = made.save(tmp_path / "out")
    description = json.loads((folder / "maps.json").read_text())
    assert description["prompts"][0]["text"] == "a red cat"
    assert "(red:1.4)" in json.dumps(description)
    assert (folder / "index.html").is_file()
    assert (folder / "image.png").is_file()


def test_settings_tell_where_and_when_weights_acted(pipe, tmp_path):
    made = promptattn.generate(pipe, "a (red:2) cat", layers=("mid_block",), weight_steps=range(1), **FAST)
    assert (made.settings["layers"], made.settings["weight_steps"]) == (["mid_block"], [0])
    assert json.loads((made.save(tmp_path / "out") / "maps.json").read_text())["meta"]["layers"] == ["mid_block"]


def test_without_maps_images_and_settings_are_saved(pipe, tmp_path):
    made = promptattn.generate(pipe, "a cat", capture=False, **FAST)
    assert made.maps is None
    folder = made.save(tmp_path / "out")
    assert sorted(path.name for path in folder.iterdir()) == ["image.png", "settings.json"]
    assert json.loads((folder / "settings.json").read_text())["prompt"] == ["a cat"]


STRANGE = {
    "empty": "",
    "brackets only": "(([()]))",
    "one space": " ",
    "10,000 characters": "a red cat, " * 909,
    "emoji": "a 🐱👩‍🚀 (🔴:1.5) cat",
    "right to left": "قطة (حمراء:1.3) تطارد فأرا",
    "accents, decomposed": "un rato\u0301n gris",
    "every word at 0": "(a red cat:0)",
    "only BREAK": "BREAK BREAK",
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_prompts_work(pipe, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptAttnWarning)
        made = promptattn.generate(pipe, STRANGE[name], STRANGE[name], **FAST)
    assert np.asarray(made.images[0]).shape == (16, 16, 3)
    for record in made.maps.records:
        assert np.isfinite(record.mass).all()


def test_an_absurd_weight_works_and_is_said(pipe):
    with pytest.warns(PromptAttnWarning, match="1000000000"):
        made = promptattn.generate(pipe, "a (red:1e9) cat (mouse:1000000000)", strength="exact", **FAST)
    assert made.maps["mouse"].share > 0.99
    with pytest.warns(PromptAttnWarning, match="far beyond"):
        bent = promptattn.generate(pipe, "a red cat (mouse:1000000000)", **FAST)
    plain = promptattn.generate(pipe, "a red cat mouse", **FAST)
    assert plain.maps["mouse"].share < bent.maps["mouse"].share < 12 * plain.maps["mouse"].share


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(num_inference_steps=0), "0 steps"),
        (dict(num_inference_steps=1001), "1001 steps are more than the 1000 timesteps"),
        (dict(height=8 * 10**6, width=8 * 10**6), "not enough memory"),
        (dict(height=17), "height=17.*multiple of 8.*16"),
        (dict(width=-8), "width=-8"),
        (dict(seed=-1), "seed=-1"),
        (dict(guidance_scale=float("nan")), "guidance_scale=nan"),
        (dict(num_images_per_prompt=0), "num_images_per_prompt=0"),
    ],
)
def test_numbers_that_make_no_image_are_refused(pipe, options, message):
    with pytest.raises(ConfigError, match=message):
        promptattn.generate(pipe, "a cat", **(FAST | options))


def test_loading_a_folder(tiny_folder):
    pipe = promptattn.load(tiny_folder)
    assert type(pipe).__name__ == "StableDiffusionPipeline"
    assert pipe.unet.dtype == torch.float32
    assert promptattn.load(tiny_folder, dtype=torch.bfloat16).unet.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-model", "no model 'no-such-model'.*shapes"),
        ("nobody/no-such-model", "nobody/no-such-model is not in the local cache.*shapes"),
        ("/nowhere/at/all", "no model '/nowhere/at/all'"),
    ],
)
def test_models_that_are_not_there_are_one_clear_sentence(name, message):
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        promptattn.load(name)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_pipeline_is_said(tmp_path):
    with pytest.raises(UnsupportedModelError, match=r"model_index\.json"):
        promptattn.load(tmp_path)


def test_a_broken_pipeline_folder_is_said(tmp_path):
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(UnsupportedModelError, match="cannot be loaded"):
        promptattn.load(tmp_path)
