"""The app from end to end: typed, pressed and saved in a real browser, on the models of the package."""

import json
import zipfile

from app_walking import choose, run, said, saved, set_number, set_steps, shaded, tab, write

from promptattn.export import read_image

EVIL = "<img src=x onerror=alert(1)> {{ 7*7 }} ${7*7} (gato:1.5)"


def test_a_typed_prompt_is_shaded_by_weight_and_counted(page_of):
    page = page_of()
    write(page, "prompt", "a (red:1.5) cat [left] of a star")
    seen = shaded(page, "prompt", "a (red:1.5) cat [left] of a star")
    assert seen.locator(".pa-more-2, .pa-more-3").text_content() == "red"
    assert seen.locator("[class^=pa-less]").text_content() == "left"
    seen.get_by_text("7 of 22 tokens").wait_for()
    assert seen.locator(".pa-window").count() == 1
    write(page, "prompt", "a cat " * 20)
    seen.get_by_text("40 of 44 tokens in 2 windows").wait_for()
    assert seen.locator(".pa-window").count() == 2


def select(box, start, end):
    box.evaluate("(box, at) => { box.focus(); box.setSelectionRange(...at); }", [start, end])


def selected(box):
    return box.evaluate("(box) => box.value.slice(box.selectionStart, box.selectionEnd)")


def test_keys_move_the_weight_of_the_selected_words_and_can_be_undone(page_of):
    page = page_of()
    write(page, "prompt", "a red cat")
    box = page.locator("#pa-prompt textarea")
    select(box, 2, 5)
    box.press("Control+ArrowUp")
    box.press("Control+ArrowUp")
    assert (box.input_value(), selected(box)) == ("a (red:1.1) cat", "red")
    shaded(page, "prompt", "a (red:1.1) cat")
    box.press("Control+z")
    assert box.input_value() == "a (red:1.05) cat"
    box.press("Control+z")
    assert box.input_value() == "a red cat"
    box.press("Control+ArrowDown")  # on the word again, and not on the whole text
    assert (box.input_value(), selected(box)) == ("a (red:0.95) cat", "red")


def test_keys_leave_a_long_text_where_it_is_scrolled_to(page_of):
    page = page_of()
    text = "a red cat\n" * 60 + "end"
    write(page, "prompt", text)
    box = page.locator("#pa-prompt textarea")
    select(box, len(text), len(text))
    before = box.evaluate("(box) => { box.scrollTop = box.scrollHeight; return box.scrollTop; }")
    box.press("Control+ArrowUp")
    assert box.input_value().endswith("(end:1.05)")
    assert before > 300
    assert box.evaluate("(box) => box.scrollTop") == before


def test_buttons_move_weights_without_a_keyboard_and_in_the_syntax_that_is_chosen(page_of):
    page = page_of(viewport={"width": 390, "height": 844}, has_touch=True)
    write(page, "negative", "a red cat")
    box = page.locator("#pa-negative textarea")
    select(box, 3, 3)
    more = page.locator(".pa-settings").get_by_role("button", name="More weight")
    more.tap()
    more.tap()
    assert (box.input_value(), selected(box)) == ("a (red:1.1) cat", "red")
    page.get_by_role("button", name="More settings").click()
    choose(page, "syntax", "compel")
    page.locator("#pa-negative-seen [data-syntax=compel]").wait_for()
    write(page, "negative", "a red cat")
    select(box, 3, 3)
    page.locator(".pa-settings").get_by_role("button", name="Less weight").tap()
    assert box.input_value() == "a (red)0.95 cat"


def test_an_image_is_made_shown_in_the_viewer_and_saved_with_its_prompt(page_of, tmp_path):
    page = page_of()
    write(page, "prompt", "a (red:1.4) cat left of a blue star")
    set_steps(page, 3, seed=7)
    frame = run(page, "make")
    chip = frame.locator("button.chip", has=frame.locator("bdi.name:text-is('cat')"))
    chip.hover()
    assert frame.locator(".shown:visible").first.inner_text().startswith("cat")
    said(page, "#pa-make-told", "Seed 7,")
    read = read_image(saved(page, "make", tmp_path))
    assert read.prompt == "a (red:1.4) cat left of a blue star"
    assert (read.settings["seed"], read.settings["num_inference_steps"]) == (7, 3)


def test_the_sampler_that_is_chosen_makes_the_image(page_of, tmp_path):
    page = page_of()
    set_steps(page, 2)
    choose(page, "sampler", "DPM++ 2M Karras")
    run(page, "make")
    scheduler = read_image(saved(page, "make", tmp_path)).settings["scheduler"]
    assert (scheduler["name"], scheduler["options"]["use_karras_sigmas"]) == ("DPMSolverMultistepScheduler", True)


def test_another_model_brings_what_suits_it_and_makes_the_image(page_of, tmp_path):
    page = page_of()
    choose(page, "model", "shapes-dit")
    page.wait_for_function("() => document.querySelector('#pa-steps input').value === '20'")
    page.locator("#pa-sampler input").click()
    assert page.get_by_role("option").all_inner_texts()[1:] == ["FlowMatchEulerDiscreteScheduler"]
    write(page, "prompt", "a cat " * 11 + "(and:1.2) a star")
    said(page, "#pa-prompt-seen", "cut off: and, a, star")
    assert "".join(page.locator("#pa-prompt-seen .pa-text .pa-lost").all_text_contents()) == "and a star"
    write(page, "prompt", "a (red:1.4) cat")
    write(page, "negative", "blue")
    set_steps(page, 2, seed=3)
    frame = run(page, "make")
    assert frame.locator("button.chip bdi.name").all_inner_texts()[:3] == ["a", "red", "cat"]
    read = read_image(saved(page, "make", tmp_path))
    assert (read.settings["model"], read.prompt, read.negative_prompt) == ("shapes-dit", "a (red:1.4) cat", "blue")


def test_windows_are_marked_in_the_text(page_of):
    page = page_of()
    text = "a red cat, " * 6 + "the (end:1.2)"
    write(page, "prompt", text)
    mark = shaded(page, "prompt", text).get_by_label("window 2 begins here")
    mark.wait_for()
    assert mark.evaluate("(mark) => mark.nextElementSibling.textContent").startswith("a red cat, the")
    assert mark.evaluate("(mark) => getComputedStyle(mark, '::after').content") == '"2"'
    assert mark.bounding_box()["height"] > 10


def test_the_negative_prompt_is_shaded_and_counted_too(page_of):
    page = page_of()
    write(page, "negative", "a (blue:1.3 star")
    seen = shaded(page, "negative", "a (blue:1.3 star")
    seen.get_by_text("is never closed").wait_for()
    seen.get_by_text("of 22 tokens").wait_for()


def test_a_number_that_cannot_be_is_told_by_the_name_of_its_control(page_of):
    page = page_of()
    for name, value, told in (
        ("steps", "0", "Steps is a whole number from 1 to 1000, and not 0."),
        ("seed", "1.5", "Seed is a whole number"),
        ("guidance", "-2", "Guidance is a number from 0 to 100, and not -2."),
    ):
        set_number(page, name, value)
        page.locator("#pa-make").click()
        said(page, "#pa-make-told", told)
        set_number(page, name, "3")
    assert page.locator(".toast-body").count() == 0


def test_an_empty_seed_is_drawn_and_told(page_of, tmp_path):
    page = page_of()
    set_steps(page, 1, seed="")
    run(page, "make")
    seed = read_image(saved(page, "make", tmp_path)).settings["seed"]
    said(page, "#pa-make-told", f"Seed {seed},")
    assert seed > 0


def test_a_sweep_is_shown_and_packed(page_of, tmp_path):
    page = page_of()
    tab(page, "Sweep")
    set_steps(page, 2)
    write(page, "template", "a (red:{0.5,1.5}) cat")
    said(page, "#pa-template-seen", "2 images, the first of which is:")
    frame = run(page, "sweep")
    assert frame.locator("#compare:visible").count() == 1
    with zipfile.ZipFile(saved(page, "sweep", tmp_path)) as packed:
        assert {"grid.png", "sweep.json", "index.html"} <= set(packed.namelist())
        assert json.loads(packed.read("sweep.json"))["template"] == "a (red:{0.5,1.5}) cat"


def test_two_prompts_are_compared(page_of, tmp_path):
    page = page_of()
    tab(page, "Compare")
    set_steps(page, 2)
    write(page, "before", "a red cat")
    write(page, "after", "a (red:1.5) cat")
    frame = run(page, "compare")
    assert "red ×1.5" in frame.locator("#compare").inner_text()
    assert "×1.5" in saved(page, "compare", tmp_path).read_text(encoding="utf-8")


def test_a_prompt_that_cannot_be_read_is_told_in_a_sentence(page_of):
    page = page_of()
    tab(page, "Sweep")
    write(page, "template", "a red cat")
    said(page, "#pa-template-seen", "nothing is swept")
    page.locator("#pa-sweep").click()
    said(page, "#pa-sweep-told", "nothing is swept in 'a red cat'")
    assert page.locator("#pa-sweep-viewer iframe").count() == 0


def test_nothing_that_is_typed_becomes_markup(page_of):
    page = page_of()
    write(page, "prompt", EVIL)
    shaded(page, "prompt", EVIL)
    set_steps(page, 1)
    run(page, "make")
    tab(page, "Sweep")
    write(page, "template", EVIL)
    said(page, "#pa-template-seen", "onerror=alert(1)")
    assert page.locator("img[src=x]").count() == 0
