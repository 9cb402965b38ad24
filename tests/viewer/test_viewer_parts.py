"""Steps, layers and heads: what is chosen is what is shown."""

import pytest
from made import run
from test_viewer_words import assert_painted, chip, percent, pixels, shown

LAYER = "up_blocks.1.attentions.0.transformer_blocks.0.attn2"


def share(page, word):
    shown(page)
    return chip(page, word).locator(".share").inner_text()


def test_the_scrubber_goes_through_the_steps(opened):
    page = opened("one")
    chip(page, "gato").click()
    page.get_by_role("slider", name="Step").focus()
    for number in (2, 1, 0):
        page.keyboard.press("ArrowLeft")
        step = run().step(number)
        assert share(page, "gato") == percent(step["gato"].share)
        assert f"step {number}" in shown(page)
        assert page.locator(".now").inner_text() == f"step {number} of 0 to 3"
        assert page.get_by_role("slider", name="Step").get_attribute("aria-valuetext") == f"step {number}"
    maps = [run().step(number)["gato"].resized((16, 24)) for number in range(4)]
    low, top = min(float(each.min()) for each in maps), max(float(each.max()) for each in maps)
    assert_painted(pixels(page), maps[0], (min(low, 0.75 * top), top))
    page.get_by_role("button", name="all steps").click()
    assert share(page, "gato") == percent(run()["gato"].share)
    assert page.locator(".now").inner_text() == "mean of 4 steps"


def test_playing_runs_through_the_steps_and_stops(opened):
    page = opened("one")
    page.evaluate("""() => {
        const now = document.querySelector(".now");
        window.seen = [];
        new MutationObserver(() => seen.push(now.textContent)).observe(now, { childList: true });
        document.querySelector(".play").click();
    }""")
    page.locator(".now", has_text="step 3").wait_for()
    page.get_by_role("button", name="Play the steps").wait_for()
    seen = list(dict.fromkeys(page.evaluate("seen")))
    # A busy machine may draw two steps at once, but none is drawn out of order.
    assert seen == sorted(seen)
    assert len(seen) >= 2
    stopped = "const play = document.querySelector('.play'); play.click(); play.click(); play.ariaLabel"
    assert page.evaluate(stopped) == "Play the steps"
    page.wait_for_timeout(400)
    assert page.locator(".now").inner_text() == "step 0 of 0 to 3"


def test_a_layer_and_its_heads_and_steps_can_be_picked(opened):
    page = opened("one")
    one = run().layer(LAYER)
    page.get_by_label("Layer").select_option(index=3)
    assert "up_blocks.1.0" in page.get_by_label("Layer").locator("option").nth(3).inner_text()
    assert share(page, "rojo") == percent(one["rojo"].share)
    chip(page, "rojo").click()
    assert_painted(pixels(page), one["rojo"].by_layer[LAYER])
    page.get_by_label("Head").select_option("head 2")
    assert share(page, "rojo") == percent(one.head(2)["rojo"].share)
    assert "up_blocks.1.0 · head 2" in shown(page)


def test_a_head_gives_way_to_a_step_as_neither_was_recorded_within_the_other(opened):
    page = opened("one")
    page.get_by_label("Head").select_option("head 1")
    assert share(page, "gris") == percent(run().head(1)["gris"].share)
    page.get_by_role("slider", name="Step").fill("2")
    assert share(page, "gris") == percent(run().step(2)["gris"].share)
    assert page.get_by_label("Head").evaluate("(select) => select.selectedIndex") == 0
    page.get_by_label("Layer").select_option(index=1)
    first = run().layer(run().layers[0]).step(2)
    assert share(page, "gris") == percent(first["gris"].share)


def test_a_place_lists_words_of_the_step_that_is_shown(opened):
    page = opened("one")
    page.get_by_role("slider", name="Step").fill("1")
    box = page.locator(".frame").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    shown(page)
    name, told = (page.locator(f".ranking li:first-child {part}").inner_text() for part in ("bdi", "span"))
    word, mass = run().step(1).at(0.5, 0.3)[0]
    assert name.startswith(word.text)
    assert float(told.split("\u00a0")[0]) == pytest.approx(100 * mass, rel=0.08)


def test_a_large_run_fits_into_two_megabytes_and_says_what_it_gave_up(opened, folder):
    assert (folder / "large.html").stat().st_size < 2_000_000
    page = opened("large")
    assert "at no more than" in page.locator(".notes .note").inner_text()
    assert "maps.npz" in page.locator(".notes .note").inner_text()
    page.get_by_role("slider", name="Step").fill("7")
    from made import large

    assert share(page, "mouse") == percent(large().step(7)["mouse"].share)


def test_an_old_browser_shows_the_whole_and_says_what_it_cannot(opened):
    page = opened("one", script="delete globalThis.DecompressionStream")
    assert "cannot unpack" in page.locator(".notes .note").inner_text()
    chip(page, "gato").hover()
    assert shown(page).startswith("gato")
    assert page.locator(".scrubber").count() == 0
