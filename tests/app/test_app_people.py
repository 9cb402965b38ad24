"""Several people at once, in real browsers: turns, places, stopping, and files that are nobody else's."""

import os
import time
from pathlib import Path

from app_walking import choose, run, said, saved, set_steps, tab, write

from promptattn.export import read_image


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


def start_long(page, seed=0):
    set_steps(page, 900, seed)
    page.locator("#pa-make").click()


def told(page, text):
    page.locator("#pa-make-told").get_by_text(text).first.wait_for()


def stop(page):
    page.locator("#pa-make-stop").click()
    told(page, "Stopped.")


def test_a_run_is_told_step_by_step_and_can_be_stopped(page_of):
    page = page_of()
    start_long(page)
    told(page, "/900")
    told(page, "left · ")
    stop(page)
    page.locator("#pa-make-stop").click()
    told(page, "Nothing is running.")
    set_steps(page, 1)
    run(page, "make")  # and the next one is not


def test_who_waits_is_told_the_place_and_who_finds_no_room_what_to_do(page_of):
    first, second, third = (page_of() for _ in range(3))
    start_long(first)
    told(first, "/900")
    start_long(second)
    told(second, "1 run before yours")
    start_long(third)
    told(
        third,
        "1 run is waiting already, which is as many as may wait. Nothing was started: try again in a few minutes.",
    )
    told(third, "promptattn app --queue 2")
    assert third.locator(".toast-body").count() == 0
    stop(second)  # at once, and not when its turn has come
    start_long(third)
    told(third, "1 run before yours")
    first.close()  # a page that is closed ends its run
    told(third, "/900")
    stop(third)


def test_a_page_has_one_run_at_a_time_and_another_tab_does_not_stop_it(page_of):
    page = page_of()
    start_long(page)
    told(page, "/900")
    tab(page, "Sweep")
    page.locator("#pa-sweep").click()
    said(page, "#pa-sweep-told", "Another run of yours is not over yet: wait for it, or stop it in its tab.")
    tab(page, "Image")
    told(page, "/900")
    stop(page)


def test_runs_of_two_models_at_once_are_kept_apart(page_of, tmp_path):
    pages = {model: page_of() for model in ("shapes", "shapes-dit")}
    choose(pages["shapes-dit"], "model", "shapes-dit")
    pages["shapes-dit"].wait_for_function("() => document.querySelector('#pa-steps input').value === '20'")
    for seed, page in enumerate(pages.values()):
        set_steps(page, 3, seed)
    for page in pages.values():
        page.locator("#pa-make").click()
    for seed, (model, page) in enumerate(pages.items()):
        settings = read_image(saved(page, "make", tmp_path)).settings
        assert (settings["model"], settings["seed"]) == (model, seed)


def test_a_run_that_fails_as_nobody_foresaw_is_told_in_a_sentence(page_of, monkeypatch):
    from promptattn.app import answering

    def broken(*_):
        raise RuntimeError("the moon is full")

    monkeypatch.setattr(answering, "made", broken)
    page = page_of()
    page.locator("#pa-make").click()
    told(page, "The run failed: RuntimeError: the moon is full. Where is told where the app was started.")


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
