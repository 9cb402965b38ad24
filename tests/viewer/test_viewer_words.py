"""Words, places and what is shown of them, in a real browser: by pointer, by touch and by keyboard."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from made import EVIL, run
from PIL import Image

from promptattn.maps.colormap import colorize
from promptattn.maps.paint import level_of, own_scale
from promptattn.maps.resize import resize

GRID = (32, 48)  # twice the finest layer's grid, which is 16 x 24


def chip(page, word, nth=0):
    return page.locator("button.chip:visible", has=page.locator(f"bdi.name:text-is('{word}')")).nth(nth)


def percent(mass):
    digits = 0 if mass >= 0.0995 else 1 if mass >= 0.00095 or mass == 0 else 2
    return f"{100 * mass:.{digits}f}\u00a0%"


def shown(page):
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator(".shown:visible").first.inner_text()


def pixels(page, selector=".overlay"):
    """The canvas as uint8 `[height, width, 4]`."""
    shown(page)
    data = page.locator(f"{selector}:visible").first.evaluate("(canvas) => canvas.toDataURL('image/png')")
    return np.asarray(Image.open(BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGBA"))


def assert_painted(canvas, mass, ends=None):
    """The canvas shows `mass`, colour for colour; where it is nearly transparent colours are rounded too much."""
    levels = level_of(resize(mass, canvas.shape[:2]), *(ends or own_scale(mass)))
    opaque = levels > 0.3
    assert opaque.any()
    assert np.abs(canvas[..., 3].astype(float) - 255 * 0.9 * levels).max() <= 3
    difference = np.abs(canvas[..., :3].astype(float) - colorize(levels).astype(float))[opaque]
    assert difference.max() <= 8  # half a level of the colour scale
    assert difference.mean() <= 1.5


def test_the_overlay_is_the_map(opened):
    page = opened("one")
    chip(page, "gato").hover()
    assert_painted(pixels(page), run()["gato"].resized(GRID))


def test_pointing_at_a_word_shows_it_and_leaving_brings_back_the_kept_one(opened):
    page = opened("one")
    chip(page, "gris").click()
    shown(page)
    assert chip(page, "gris").get_attribute("aria-pressed") == "true"
    chip(page, "gato").hover()
    assert shown(page).startswith("gato")
    assert percent(run()["gato"].share) in shown(page)
    page.mouse.move(5, 5)
    assert shown(page).startswith("gris")


def test_the_kept_word_is_let_go_by_another_click_and_the_picture_stands_alone(opened):
    page = opened("one")
    for keep in (chip(page, "gato").click, lambda: page.keyboard.press("Enter")):
        keep()
        page.mouse.move(5, 5)
        told = shown(page)
        kept = told.startswith("gato")
        assert chip(page, "gato").get_attribute("aria-pressed") == str(kept).lower()
        assert page.locator(".legend").is_visible() == kept
        assert (pixels(page)[..., 3].max() > 0) == kept
    assert told == "The picture alone"
    chip(page, "rojo").hover()
    assert shown(page).startswith("rojo")


def test_every_share_is_that_of_the_maps(opened):
    page = opened("one")
    for word in run().words:
        said = chip(page, word.text, word.occurrence).locator(".share").inner_text()
        assert said == percent(run()[word].share)


@pytest.mark.parametrize("place", [(0.45, 0.36), (0.5, 0.8), (0.02, 0.99)])
def test_a_place_lists_the_words_that_own_it(opened, place):
    page = opened("one")
    box = page.locator(".frame").bounding_box()
    page.mouse.move(box["x"] + place[1] * box["width"], box["y"] + place[0] * box["height"])
    shown(page)
    assert page.locator(".where").inner_text() == "At this place"
    # `at` looks at whole pixels, the page at the very place: at most a pixel's difference in a smooth map.
    masses = {word.text: mass for word, mass in reversed(run().at(*place))}
    lines = page.locator(".ranking li").all()
    found = [re.sub(r" #\d", "", line.locator("bdi").inner_text()) for line in lines]
    assert found[0] == max(masses, key=masses.get)
    told = [float(line.locator("span").inner_text().split("\u00a0")[0]) for line in lines]
    assert told == sorted(told, reverse=True)
    assert told[0] == pytest.approx(100 * masses[found[0]], rel=0.06)
    page.mouse.move(5, 5)
    shown(page)
    assert page.locator(".where").inner_text() == "In the whole picture"


def test_one_scale_for_all_words_starts_at_nothing(opened):
    page = opened("one")
    page.get_by_label("one scale for all words").check()
    chip(page, "gato").hover()
    top = max(float(run()[word].resized(GRID).max()) for word in run().words)
    assert_painted(pixels(page), run()["gato"].resized(GRID), (0.0, top))
    assert page.locator(".legend .low").inner_text() == percent(0)
    assert page.locator(".legend .high").inner_text() == percent(top)


def test_opacity_can_be_turned_down(opened):
    page = opened("one")
    page.get_by_label("Opacity").fill("20")
    assert pixels(page)[..., 3].max() == pytest.approx(255 * 0.2, abs=2)


def test_the_keyboard_reaches_words_and_places(opened):
    page = opened("one")
    chip(page, "gato").focus()
    page.keyboard.press("ArrowRight")
    assert shown(page).startswith("rojo")
    page.keyboard.press("Enter")
    shown(page)
    assert chip(page, "rojo").get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert shown(page).startswith("un")
    page.locator(".frame").focus()
    for key in ("ArrowLeft", "Shift+ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    shown(page)
    cross = page.locator(".cross:visible")
    assert [cross.evaluate(f"(e) => parseFloat(e.style.{side})") for side in ("left", "top")] == [37.5, 47.5]
    assert page.locator(".where").inner_text() == "At this place"
    page.keyboard.press("Escape")
    shown(page)
    assert page.locator(".where").inner_text() == "In the whole picture"


def test_everything_can_be_reached_with_tab_and_shows_where_it_is(opened):
    page = opened("one")
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        name = page.evaluate("document.activeElement.className || document.activeElement.tagName")
        if name == "BODY":
            break
        assert outline == "solid", name
        seen.append(name.split()[0])
    assert {"theme", "frame", "spot", "play", "all", "SELECT", "chip", "scroll", "SUMMARY"} <= {*seen, "scroll"}


def test_a_tap_keeps_a_word_and_a_place(opened):
    page = opened("one", has_touch=True, viewport={"width": 390, "height": 844})
    chip(page, "ratón").tap()
    assert shown(page).startswith("ratón")
    box = page.locator(".frame").bounding_box()
    page.touchscreen.tap(box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"])
    shown(page)
    assert page.locator(".where").inner_text() == "At this place"
    assert shown(page).startswith("ratón")


def test_a_patch_is_a_spot_on_the_picture(opened):
    page = opened("one")
    spot = page.locator(".spot")
    box, frame = spot.bounding_box(), page.locator(".frame").bounding_box()
    middle = (box["y"] + box["height"] / 2 - frame["y"]) / frame["height"]
    assert middle == pytest.approx(0.55, abs=0.01)
    spot.click()
    assert shown(page).startswith("patch at (0.55, 0.27)")
    assert_painted(pixels(page), run().patch(0).resized(GRID))


def test_patches_alone_are_a_page_too(opened):
    page = opened("patch")
    assert_painted(pixels(page), run().patch(0).resized(GRID))
    assert page.locator(".ranking").is_hidden()
    assert page.locator(".thumbs").count() == 0
    assert "where words are looked at" in page.locator(".missing summary").inner_text()


def test_the_table_between_words_is_read_by_keys_and_pointer(opened):
    page = opened("one")
    mass = run().relation("gato", "un")
    page.get_by_role("gridcell", name=f"gato → un: {percent(mass)}").hover()
    assert page.locator(".said").inner_text() == f"gato gives {percent(mass)} of its attention to un"
    page.mouse.move(5, 5)
    page.locator(".relation td[tabindex='0']").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert (
        page.locator(".said").inner_text()
        == f"rojo gives {percent(run().relation('rojo', 'gato'))} of its attention to gato"
    )


def test_without_any_map_there_is_no_scale_and_nothing_to_set(opened):
    page = opened("wordless")
    for part in (".legend", ".controls", ".ranking"):
        assert page.locator(part).is_hidden()
    assert page.get_by_text("point at a word").count() == 0
    assert "not captured in this run" in page.locator(".words .note").inner_text()
    assert page.locator(".relation").is_visible()


def test_what_is_not_captured_or_cut_off_is_told_in_words(opened):
    page = opened("cut")
    assert page.locator(".chip.cut").inner_text().startswith("gris")
    assert "cut off" in page.locator(".words .note").inner_text()


def test_a_prompt_of_more_than_one_text_is_shown_as_it_was_written(opened):
    page = opened("switching")
    assert page.locator(".words .note bdi").inner_text() == "a [red:blue:0.5] cat"
    assert opened("one").locator(".words .note").count() == 0


def test_what_was_not_recorded_is_said_with_the_place_to_record(opened):
    page = opened("plain")
    missing = page.locator(".missing")
    assert "step by step, head by head" in missing.locator("summary").inner_text()
    assert page.locator(".scrubber").count() == 0
    missing.locator("summary").click()
    assert "Capture(per_step=True)" in missing.inner_text()
    assert "from place to place" not in missing.inner_text()


def test_the_place_under_the_pointer_is_the_one_to_record(opened):
    page = opened("bare")
    assert page.locator(".relation").count() == 0
    page.locator(".missing summary").click()
    box = page.locator(".frame").bounding_box()
    page.locator(".frame").click(position={"x": 0.75 * box["width"], "y": 0.25 * box["height"]})
    shown(page)
    told = page.locator(".missing .patches").inner_text()
    assert told == "Capture(patches=[(0.25, 0.75)]) or --set 'capture.patches=[[0.25, 0.75]]'"


def test_a_prompt_is_text_and_never_markup(opened):
    page = opened("evil")
    assert page.locator("img").count() == 1
    assert page.locator("img").get_attribute("alt") == EVIL
    assert page.title().startswith("</script><img src=x")
    assert "7*7" in page.title()
    chip(page, "gordo").hover()
    assert shown(page).startswith("gordo")


def test_a_prompt_from_right_to_left_runs_so(opened):
    page = opened("foreign")
    places = [chip(page, word).bounding_box()["x"] for word in ("قطة", "حمراء", "🐱")]
    assert places == sorted(places, reverse=True)
    chip(page, "قطة").focus()
    page.keyboard.press("ArrowLeft")
    assert shown(page).startswith("حمراء")
    assert chip(page, "señor").is_visible()


def test_images_of_a_batch_are_chosen_one_by_one(opened):
    page = opened("batch")
    assert page.locator(".view:visible").get_attribute("data-index") == "0"
    page.get_by_role("button", name="image 2").click()
    assert page.locator(".view:visible").get_attribute("data-index") == "2"
    page.locator("summary:visible", has_text="About").click()
    assert page.locator("dt:visible", has_text="seed").locator("+ dd").inner_text() == "9"  # the batch's is 7
    assert chip(page, "red").locator(".weight").inner_text().endswith("−0.5")
    chip(page, "mouse").hover()
    assert shown(page).startswith("mouse")
