"""A sweep's images are those of generate(), whatever the batches; its folder says all there is to say."""

import json

import numpy as np
import pytest
import tiny_pipelines as tiny
from PIL import Image

import promptattn
from promptattn.errors import CaptureError, ConfigError, ExportError, PromptSyntaxError
from promptattn.sweeps.statistics import share_of

FAST = dict(num_inference_steps=2, height=16, width=16)
TEMPLATE = "a (red:{0.5..1.5:0.5}) {cat,mouse}"


@pytest.fixture(scope="module")
def pipe():
    return tiny.sd()


@pytest.fixture(scope="module")
def swept(pipe):
    return promptattn.sweep(pipe, TEMPLATE, seed=7, images=2, batch=5, **FAST)


def near(image, other):
    """A batch rounds differently, by a level at most."""
    return np.abs(np.asarray(image, float) - np.asarray(other, float)).max() <= 1


def test_each_image_is_that_of_its_prompt_and_seed_alone(pipe, swept):
    assert [cell.seed for cell in swept.cells] == [7] * 6 + [8] * 6
    assert swept.cells[9].point.prompt == "a (red:1.0) mouse"
    for index in (0, 5, 9):
        cell = swept.cells[index]
        alone = promptattn.generate(pipe, cell.point.prompt, seed=cell.seed, **FAST)
        assert near(cell.image, alone.images[0])
        np.testing.assert_allclose(cell.maps["red"].array, alone.maps["red"].array, atol=1e-4)


def test_nothing_depends_on_the_size_of_batches(pipe, swept):
    single = promptattn.sweep(pipe, TEMPLATE, seed=[7, 8], batch=1, **FAST)
    assert all(map(near, single.images, swept.images))
    assert [cell.point for cell in single.cells] == [cell.point for cell in swept.cells]


def test_a_long_value_does_not_change_the_short_ones(pipe):
    long = "cat, " * 100  # several chunks, to which all prompts of a call would be padded
    made = promptattn.sweep(pipe, f"a {{{long.replace(',', chr(92) + ',')},red cat}}", seed=3, capture=False, **FAST)
    alone = promptattn.generate(pipe, "a red cat", seed=3, capture=False, **FAST)
    assert np.array_equal(np.asarray(made.images[1]), np.asarray(alone.images[0]))


def test_a_schedule_can_be_swept(pipe):
    made = promptattn.sweep(pipe, "a [red cat:mouse:{0..2:1}]", seed=3, **FAST)
    alone = promptattn.generate(pipe, "a mouse", seed=3, **FAST)
    assert near(made.images[0], alone.images[0])
    assert not near(made.images[1], made.images[0])
    assert made.subjects[0].kind == "other"


def test_scheduled_prompts_share_calls_and_stay_what_they_are(pipe):
    seen = []
    made = promptattn.sweep(
        pipe, "a [cat:{dog,mouse}:1]", "a [red|blue] dog", seed=3, on_step=lambda *step: seen.append(step), **FAST
    )
    assert seen == [(1, 2), (2, 2)]
    for cell in made.cells:
        alone = promptattn.generate(pipe, cell.point.prompt, cell.point.negative, seed=3, **FAST)
        assert near(cell.image, alone.images[0])


def test_prompts_whose_chunks_change_go_alone(pipe):
    seen = []
    long = "dog " * 100
    promptattn.sweep(
        pipe, f"a [cat:{long}:1] {{red,blue}}", capture=False, on_step=lambda *step: seen.append(step), **FAST
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_maps_are_those_of_the_swept_words(swept):
    red, animals = swept.maps_of(0), swept.maps_of(1)
    assert {heat.label for heat in red} == {"red"}
    assert [heat.label for heat in animals] == ["cat", "mouse"] * 6
    assert red[0].weight == 0.5
    shares = [share_of(heat) for heat in red[0:6:2]]
    assert shares == sorted(shares)
    assert [heat is not None for heat in swept.maps_of_word("cat")] == [True, False] * 6
    with pytest.raises(CaptureError, match="no 'dog'"):
        swept.maps_of_word("dog")


def test_the_folder_holds_grids_images_and_what_they_are(swept, tmp_path):
    folder = swept.save(tmp_path / "sweep")
    found = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    assert found["template"] == TEMPLATE
    assert [axis["values"] for axis in found["axes"]] == [["0.5", "1.0", "1.5"], ["cat", "mouse"]]
    assert [axis["kind"] for axis in found["axes"]] == ["weight", "text"]
    assert found["seeds"] == [7, 8]
    assert found["settings"]["num_inference_steps"] == 2
    for cell, entry in zip(swept.cells, found["cells"], strict=True):
        assert (entry["prompt"], entry["seed"]) == (cell.point.prompt, cell.seed)
        with Image.open(folder / entry["file"]) as image:
            assert np.array_equal(np.asarray(image), np.asarray(cell.image))
        shares = {word["text"]: word["share"] for word in entry["words"]}
        assert shares["red"] == pytest.approx(float(cell.maps["red"].array.mean()), abs=1e-6)
        red, animal = entry["swept"]
        assert (red["words"], red["weight"]) == ("red", float(cell.point.values[0]))
        assert animal["words"] == cell.point.values[1]
        assert red["least"] <= red["share"] <= red["most"]
        assert all(0 <= place <= 1 for place in (*red["peak"], *red["centre"], red["area"]))
    assert set(found["maps"]) == {"red", "cat, mouse"}
    assert {path.name for path in folder.iterdir()} == {
        "grid.png", "images", "index.html", "sweep.json", "maps_red.png", "maps_cat-mouse.png",
    }  # fmt: skip


def test_the_viewer_of_a_sweep_holds_every_image_and_opens_with_the_ends_of_one_weight(swept, tmp_path):
    page = (swept.save(tmp_path / "sweep") / "index.html").read_text(encoding="utf-8")
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    names = [view["name"] for view in data["views"]]
    assert len(set(names)) == len(swept.cells) == 12
    assert names[0] == "red ×0.5 · cat · seed 7"
    assert (data["opened"], data["pair"]) == ("compare", [0, 4])
    assert names[4] == "red ×1.5 · cat · seed 7"
    for view, cell in zip(data["views"], swept.cells, strict=True):
        about = dict(view["facts"])
        assert (about["prompt"], about["seed"]) == (cell.point.prompt, str(cell.seed))


def test_a_folder_is_kept_unless_forced_and_only_a_sweep_is_replaced(swept, tmp_path):
    folder = swept.save(tmp_path / "sweep", words=["red mouse"])
    assert (folder / "maps_red-mouse.png").is_file()
    with pytest.raises(ExportError, match="--force"):
        swept.save(folder)
    swept.save(folder, force=True)
    assert not (folder / "maps_red-mouse.png").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(ExportError, match="not written by promptattn"):
        swept.save(tmp_path / "other", force=True)
    with pytest.raises(CaptureError):
        swept.save(tmp_path / "none", words=["dog"])
    assert not (tmp_path / "none").exists()


def test_without_maps_there_are_grid_images_and_json(pipe, tmp_path):
    made = promptattn.sweep(pipe, "a (cat:{1,0})", capture=False, **FAST)
    folder = made.save(tmp_path / "sweep")
    assert {path.name for path in folder.iterdir()} == {"grid.png", "images", "sweep.json"}
    with pytest.raises(CaptureError, match="capture=False"):
        made.maps_of_word("cat")


def test_a_weight_of_zero_has_a_map_of_zeros_without_a_fuss(pipe, tmp_path, recwarn):
    folder = promptattn.sweep(pipe, "a (cat:{0,1})", **FAST).save(tmp_path / "sweep")
    nothing = json.loads((folder / "sweep.json").read_text())["cells"][0]["swept"][0]
    assert (nothing["share"], nothing["peak"], nothing["spread"]) == (0.0, None, None)
    assert not [warning for warning in recwarn if "zero everywhere" in str(warning.message)]


def test_steps_are_counted_over_all_batches(pipe):
    seen = []
    promptattn.sweep(pipe, "a {cat,dog,mouse}", batch=2, on_step=lambda *step: seen.append(step), **FAST)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(template="a cat"), ConfigError, "nothing is swept"),
        (dict(template="a {1..2:0} cat"), PromptSyntaxError, "step of 0"),
        (dict(template="{1..100}"), PromptSyntaxError, "64 are the most"),
        (dict(template="{1,2}", limit=1), PromptSyntaxError, "1 are the most"),
        (dict(template="{1,2}", images=0), ConfigError, "images=0"),
        (dict(template="{1,2}", batch=0), ConfigError, "batch=0"),
        (dict(template="{1,2}", seed=[7, 7]), ConfigError, "not all different"),
        (dict(template="{1,2}", seed=[]), ConfigError, "are none"),
        (dict(template="{1,2}", syntax="latin"), ConfigError, "latin"),
        (dict(template="{1,2}", guidance=4), ConfigError, "no option 'guidance'"),
    ],
)
def test_what_cannot_be_is_refused_before_a_model_is_loaded(options, error, message):
    with pytest.raises(error, match=message):
        promptattn.sweep("no-such-model", **options)
