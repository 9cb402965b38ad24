"""What the study of weights measures, on drawn scenes whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from promptattn.errors import ConfigError
from promptattn.shapes import COLOURS, SHAPES, Scene, SceneObject, render
from promptattn.shapes.study import areas, pixels
from promptattn.shapes.study.cases import Case, prompt_cases, scene_cases

SCENE = Scene((SceneObject("circle", "red", 18, 32, 20), SceneObject("square", "blue", 46, 32, 20)), "white", "left")
CASE = Case(0, 0, "en", "a red circle left of a blue square on a white background", {}, {}, SCENE, subject=0)


def drawn(**changes):
    """The scene with the own object changed."""
    own, other = SCENE.objects
    return render(replace(SCENE, objects=(replace(own, **changes), other)))[0]


BASE = drawn()


def measured(image):
    return pixels.measure(CASE, image, BASE)


def test_the_unchanged_scene():
    found = measured(BASE)
    mask = render(SCENE)[1][0]
    assert found["own"] == pytest.approx(mask.mean(), rel=0.15)
    assert found["own_present"]
    assert found["other_present"]
    assert found["shape"]
    assert found["distance"] < 12  # antialiased rims only
    assert found["likeness"] > 0.8  # `look` sees objects up to a pixel wider than they were drawn
    assert found["other_likeness"] > 0.8
    assert found["moved"] == found["change"] == 0
    assert not found["broken"]


def test_a_larger_own_object_is_strength_without_side_effect():
    before, after = measured(BASE), measured(drawn(size=26))
    assert after["own"] > 1.4 * before["own"]
    assert after["other"] == before["other"]
    assert after["change"] < 0.5  # the new rim blends beyond the mask by less than a pixel
    assert after["moved"] > 20


def test_another_colour_takes_the_own_object_away_and_nothing_else():
    after = measured(drawn(colour="green"))
    assert after["own"] == 0
    assert not after["own_present"]
    assert not after["shape"]
    assert after["likeness"] == measured(BASE)["likeness"]
    apart = np.linalg.norm(np.subtract(COLOURS["green"], COLOURS["red"]))
    assert after["distance"] == pytest.approx(apart, rel=0.05)
    assert after["change"] < 1e-6
    assert after["other_present"]
    assert not after["broken"]


def test_another_shape_is_seen():
    after = measured(drawn(shape="star", size=26))
    assert not after["shape"]
    assert after["likeness"] < 0.75
    assert after["other_likeness"] == measured(BASE)["other_likeness"]


def test_nothing_there_is_like_nothing():
    blank = np.full_like(BASE, 244)
    assert measured(blank)["likeness"] == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_most_like_itself(shape):
    own = SceneObject(shape, "green", 20, 30, 26, facing=-1)
    scene = Scene((own, SceneObject("square", "blue", 50, 30, 20)), "white", "left")
    image = render(scene)[0]

    def likeness(name):
        asked = replace(scene, objects=(replace(own, shape=name), scene.objects[1]))
        return pixels.measure(replace(CASE, scene=asked), image, image)["likeness"]

    found = {name: likeness(name) for name in SHAPES}
    assert found[shape] > 0.75  # the thin moon gains most by a pixel
    assert max(found, key=found.get) == shape


def test_a_change_of_the_other_object_is_all_side_effect():
    own, other = SCENE.objects
    image = render(replace(SCENE, objects=(own, replace(other, colour="green"))))[0]
    found = measured(image)
    assert found["own"] == measured(BASE)["own"]
    assert found["moved"] == 0
    assert found["other"] == 0
    mask = render(SCENE)[1][1]
    apart = np.abs(np.subtract(COLOURS["green"], COLOURS["blue"], dtype=float)).mean()
    assert found["change"] == pytest.approx(apart * mask.sum() / (mask.size * 0.88), rel=0.15)


def noise():
    return np.random.default_rng(0).integers(0, 256, BASE.shape, dtype=np.uint8)


def specks():
    image = BASE.copy()
    for y in range(2, 14, 4):
        for x in range(2, 60, 6):
            image[y : y + 3, x : x + 3] = COLOURS["red"]
    return image


@pytest.mark.parametrize(
    ("image", "broken"),
    [
        (lambda: BASE, False),
        (lambda: drawn(size=30), False),
        (noise, True),
        (specks, True),
        (lambda: np.full_like(BASE, 244), True),
        (lambda: render(replace(SCENE, background="black"))[0], True),
    ],
    ids=["fine", "large", "noise", "specks", "nothing there", "background gone"],
)
def test_broken_images(image, broken):
    assert pixels.is_broken(CASE, image()) == broken


def test_no_drawn_scene_is_broken():
    assert not any(pixels.is_broken(case, render(case.scene)[0]) for case in scene_cases(40))


def test_the_own_object_may_be_the_second():
    found = pixels.measure(replace(CASE, subject=1), drawn(colour="green"), BASE)
    assert found["other"] == 0
    assert found["own_present"]


def test_a_base_without_its_own_object_has_no_distance():
    absent = drawn(colour="green")
    assert np.isnan(pixels.measure(CASE, BASE, absent)["distance"])


def test_map_areas():
    base = np.zeros((4, 4, 3), np.uint8)
    image = base.copy()
    image[0, 0], image[3, 3], image[1, 3] = 90, 30, 60
    maps = {"own": np.zeros((4, 4)), "other": np.zeros((4, 4))}
    maps["own"][0, :2] = 1.0, 0.3  # 0.3 is below 0.4 of the maximum
    maps["other"][3, 2:] = 0.5
    found = areas.measure(image, base, {name: 2 * each for name, each in maps.items()}, maps)
    assert found == pytest.approx(
        {
            "change_in": 90,
            "change": 90 / 15,
            "change_other": 15,
            "mass": 2 * 1.3 / 16,
            "other_mass": 2 / 16,
            "gathered": 1 / 1.3,
            "broken": 0,
        }
    )


def test_burnt_images_are_broken():
    base = np.full((4, 4, 3), 100, np.uint8)
    burnt = base.copy()
    burnt[:2, :, 0] = 255
    assert areas.is_broken(burnt, base)
    assert not areas.is_broken(base, base)
    assert not areas.is_broken(burnt, burnt)


def test_scene_cases_are_balanced_and_stable():
    cases = scene_cases(32)
    assert cases[:8] == scene_cases(8)
    groups = {(language, subject): 0 for language in ("en", "es") for subject in (0, 1)}
    for case in cases:
        groups[case.language, case.subject] += 1
        assert len(case.scene.objects) == 2
    assert set(groups.values()) == {8}
    assert len({case.seed for case in cases}) == 32


def test_weighted_prompts_of_a_scene():
    for case in scene_cases(8):
        own = case.scene.objects[case.subject]
        mark = case.own["noun"]
        noun = case.text[mark.start : mark.end]
        assert case.prompt("noun", 1.5) == f"{case.text[: mark.start]}({noun}:1.5){case.text[mark.end :]}"
        if case.language == "en":
            assert noun == own.shape
            assert case.text[slice(*vars(case.own["colour"]).values())] == own.colour


def test_words_in_company():
    for case in scene_cases(8):
        every = case.prompt("all", 0.5)
        assert every.replace("(", "").replace(":0.5)", "") == case.text
        own = sorted(case.own.values(), key=lambda mark: mark.start)
        left = [word for word in every.split() if not word.endswith(":0.5)")]
        assert left == [case.text[mark.start : mark.end] for mark in own]
        assert 9 <= len(case.company) <= 12
        mark = case.other["colour"]
        colour = case.text[mark.start : mark.end]
        assert case.prompt("one", 0.5) == f"{case.text[: mark.start]}({colour}:0.5){case.text[mark.end :]}"
        assert mark in case.company


def test_prompts_from_a_file():
    cases = prompt_cases(["# mine", "", "a cat, a {red} cat next to a {blue dog}", "un {gato}"], seeds=2)
    assert [case.text for case in cases] == ["a cat, a red cat next to a blue dog"] * 2 + ["un gato"] * 2
    assert len({case.seed for case in cases}) == 4
    assert cases[0].prompt("word", 0.25) == "a cat, a (red:0.25) cat next to a blue dog"
    assert cases[0].word(cases[0].other["word"]) == ("blue dog", 0)
    assert cases[2].other == {}


def test_occurrences_count_whole_words():
    (case,) = prompt_cases(["a caterpillar, a cat and a {cat}"])
    assert case.word(case.own["word"]) == ("cat", 1)


@pytest.mark.parametrize("line", ["a red cat", "a {} cat", "{a} {b} {c}"])
def test_a_line_without_its_mark_is_refused(line):
    with pytest.raises(ConfigError, match="line 2"):
        prompt_cases(["a {red} cat", line])


def test_a_file_without_prompts_is_refused():
    with pytest.raises(ConfigError, match="no prompt"):
        prompt_cases(["# nothing"])
