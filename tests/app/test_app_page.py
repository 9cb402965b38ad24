"""The app from end to end: typed, pressed and dropped in a real browser, on the shapes model."""

import json
import os
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from promptattn.export import read_image

EVIL = "<img src=x onerror=alert(1)> {{ 7*7 }} ${7*7} (gato:1.5)"


def write(page, name, text):
    page.locator(f"#pa-{name} textarea").fill(text)


def shaded(page, name, text):
    """Waits until the shaded copy of a prompt is that text."""
    page.wait_for_function(
        "([name, text]) => document.querySelector(`#pa-${name}-seen .pa-text`)?.textContent === text", arg=[name, text]
    )
    return page.locator(f"#pa-{name}-seen")


def set_steps(page, steps, seed=0):
    page.locator("#pa-steps input").fill(str(steps))
    page.locator("#pa-seed input").fill(str(seed))


def run(page, name):
    """Press the button of a tab, and wait for the page that comes of it."""
    viewer = page.locator(f"#pa-{name}-viewer iframe")
    before = viewer.get_attribute("srcdoc") if viewer.count() else None
    page.locator(f"#pa-{name}").click()
    page.wait_for_function(
        "([name, before]) => { const frame = document.querySelector(`#pa-${name}-viewer iframe`);"
        " return frame && frame.srcdoc !== before; }",
        arg=[name, before],
    )
    frame = page.frame_locator(f"#pa-{name}-viewer iframe")
    frame.locator("[data-ready]:visible").first.wait_for()
    return frame


def saved(page, name, folder):
    """What the button that saves gives."""
    button = page.locator(f"#pa-{name}-save")
    button.wait_for()
    with page.expect_download() as download:
        button.click()
    path = Path(folder) / download.value.suggested_filename
    download.value.save_as(path)
    return path


def tab(page, name):
    page.get_by_role("tab", name=name).click()


def said(page, where, text):
    page.locator(where).get_by_text(text).first.wait_for()


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


def test_keys_move_the_weight_of_the_selected_words(page_of):
    page = page_of()
    write(page, "prompt", "a red cat")
    box = page.locator("#pa-prompt textarea")
    box.evaluate("(box) => { box.focus(); box.setSelectionRange(2, 5); }")
    box.press("Control+ArrowUp")
    box.press("Control+ArrowUp")
    assert box.input_value() == "a (red:1.1) cat"
    shaded(page, "prompt", "a (red:1.1) cat")
    for _ in range(3):
        box.press("Control+ArrowDown")
    assert box.input_value() == "a (red:0.95) cat"


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
    page.locator("#pa-sampler input").click()
    page.get_by_role("option", name="EulerDiscreteScheduler", exact=True).click()
    run(page, "make")
    assert read_image(saved(page, "make", tmp_path)).settings["scheduler"]["name"] == "EulerDiscreteScheduler"


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


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """An image that says how it was made."""
    import promptattn

    made = promptattn.generate(
        "shapes",
        "un [gato] (rojo:1.3)",
        "azul",
        seed=41,
        num_inference_steps=2,
        guidance_scale=3.5,
        clip_skip=1,
        capture=False,
    )
    return made.save_image(tmp_path_factory.mktemp("dropped") / "gato.png")


def test_a_dropped_image_brings_its_prompt_and_settings_back(page_of, picture):
    page = page_of()
    page.locator("#pa-drop input[type=file]").set_input_files(picture)
    said(page, "#pa-dropped", "Taken over from gato.png.")
    said(page, "#pa-dropped", "the page has no control for clip_skip, which was 1")
    assert page.locator("#pa-prompt textarea").input_value() == "un [gato] (rojo:1.3)"
    assert page.locator("#pa-negative textarea").input_value() == "azul"
    values = [page.locator(f"#pa-{name} input").input_value() for name in ("seed", "steps", "guidance")]
    assert values == ["41", "2", "3.5"]
    shaded(page, "prompt", "un [gato] (rojo:1.3)")


def test_an_image_that_says_nothing_is_told_in_a_sentence(page_of, tmp_path):
    page = page_of()
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    page.locator("#pa-drop input[type=file]").set_input_files(tmp_path / "plain.png")
    said(page, "#pa-dropped", "'plain.png' says nothing of how it was made.")


def test_what_is_too_large_is_refused_in_a_sentence(page_of, tmp_path):
    # gradio's page asks for the progress of an upload that the same page has refused, and logs that there is none.
    page = page_of(expected=("404 (Not Found)", "413 (", "Response"))
    (tmp_path / "large.png").write_bytes(bytes(1_500_000))
    page.locator("#pa-drop input[type=file]").set_input_files(tmp_path / "large.png")
    page.get_by_text("exceed the maximum allowed size of 1.0 Mb").first.wait_for()


def test_the_server_itself_takes_no_larger_upload(page_of, address):
    large = {"name": "large.png", "mimeType": "image/png", "buffer": bytes(1_500_000)}
    answer = page_of().request.post(f"{address}gradio_api/upload", multipart={"files": large})
    assert answer.status == 413


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


def test_two_people_at_once_get_what_each_asked_for(page_of, tmp_path):
    pages = [page_of(), page_of()]
    prompts = ["a red cat", "a blue star"]
    for seed, (page, prompt) in enumerate(zip(pages, prompts, strict=True)):
        write(page, "prompt", prompt)
        set_steps(page, 4, seed=seed)
    for page in pages:
        page.locator("#pa-make").click()
    for seed, (page, prompt) in enumerate(zip(pages, prompts, strict=True)):
        read = read_image(saved(page, "make", tmp_path))
        assert (read.prompt, read.settings["seed"]) == (prompt, seed)
        chips = page.frame_locator("#pa-make-viewer iframe").locator("button.chip bdi.name")
        assert prompt.split()[2] in chips.all_inner_texts()


def test_a_run_can_be_stopped(page_of):
    page = page_of()
    set_steps(page, 400)
    page.locator("#pa-make").click()
    page.get_by_text("/400").first.wait_for()
    page.locator("#pa-make-stop").click()
    said(page, "#pa-make-told", "Stopped.")
    set_steps(page, 1)
    run(page, "make")  # and the next one is not


def test_the_files_of_a_page_go_when_it_is_closed(page_of):
    page = page_of()
    set_steps(page, 1)
    write(page, "prompt", "a (blue:0) star")
    run(page, "make")
    said(page, "#pa-make-told", "Nothing attended to 'blue'")
    files = Path(os.environ["GRADIO_TEMP_DIR"])
    mine = max(files.glob("page-*/*/image.png"), key=lambda each: each.stat().st_mtime).parents[1]
    page.close()
    until = time.monotonic() + 30
    while mine.exists() and time.monotonic() < until:
        time.sleep(0.2)
    assert not mine.exists()
