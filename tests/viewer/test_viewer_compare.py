"""Two results side by side: what changed, in numbers and colours."""

import errno

import numpy as np
import pytest
from made import changed_picture, reseeded, run, stronger
from synthetic import demo, picture
from test_viewer_words import assert_painted, percent, pixels

import promptattn
from promptattn.errors import CaptureError, ConfigError, ExportError
from promptattn.maps.colormap import diverging
from promptattn.maps.resize import resize

GRID = (32, 48)


def line(page, word):
    return page.locator(".changes tr", has=page.locator(f"bdi:text-is('{word}')"))


def settle(page):
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_the_word_whose_weight_changed_is_shown_first_on_one_scale(opened):
    page = opened("pair")
    before, after = run()["rojo"].resized(GRID), stronger()["rojo"].resized(GRID)
    top = max(float(before.max()), float(after.max()))
    low = min(min(float(each.min()), 0.75 * float(each.max())) for each in (before, after))
    assert_painted(pixels(page, "[data-side=before] .overlay"), before, (low, top))
    assert_painted(pixels(page, "[data-side=after] .overlay"), after, (low, top))
    for side in ("before", "after"):
        legend = page.locator(f"[data-side={side}] .legend")
        assert [legend.locator(end).inner_text() for end in (".low", ".high")] == [percent(low), percent(top)]


def test_the_difference_is_after_less_before(opened):
    page = opened("pair")
    line(page, "gato").hover()
    canvas = pixels(page, "[data-side=difference] .overlay")
    before, after = (resize(maps["gato"].resized(GRID), canvas.shape[:2]) for maps in (run(), stronger()))
    most = np.abs(stronger()["gato"].resized(GRID) - run()["gato"].resized(GRID)).max()
    level = np.clip((after - before) / most, -1, 1)
    assert level.max() <= 0  # what "rojo" gained the others lost
    assert np.abs(canvas[..., 3] - 255 * 0.9 * np.cbrt(np.abs(level))).max() <= 12
    clear = np.abs(level) > 0.3
    colors = diverging()[np.round(127.5 * (1 + level)).astype(int)].astype(float)
    assert np.abs(canvas[..., :3].astype(float) - colors)[clear].max() <= 8
    share = stronger()["gato"].share - run()["gato"].share
    assert f"−{100 * -share:.1f}\u00a0pt" in page.locator("[data-side=difference] .shown").inner_text()


def test_the_table_lists_every_word_with_weight_shares_and_change(opened):
    page = opened("pair")
    row = line(page, "rojo")
    before, after = run()["rojo"].share, stronger()["rojo"].share
    assert row.locator(".weights").inner_text() == "×1 → ×2"
    assert row.locator(".shares").inner_text() == f"{percent(before)} → {percent(after)}"
    assert row.locator(".delta").inner_text() == f"+{100 * (after - before):.1f}\u00a0pt ×{after / before:.2f}"
    assert page.locator(".changes tbody tr").count() == len(run().words)


def test_swapping_turns_every_sign(opened):
    page = opened("pair")
    assert line(page, "rojo").locator(".delta").inner_text().startswith("+")
    page.get_by_role("button", name="Swap before and after").click()
    settle(page)
    assert line(page, "rojo").locator(".delta").inner_text().startswith("−")
    assert page.locator("select.before").input_value() == "1"


def test_a_place_is_compared_in_all_three_pictures(opened):
    page = opened("pair")
    box = page.locator("[data-side=after] .frame").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    settle(page)
    assert page.locator(".trio .cross:visible").count() == 3
    assert "30 % across and 50 % down" in page.locator(".note.place").inner_text()
    told = line(page, "rojo").locator(".shares").inner_text().replace("\u00a0%", "").split(" → ")
    masses = [{word.text: mass for word, mass in maps.at(0.5, 0.3)}["rojo"] for maps in (run(), stronger())]
    assert [float(each) for each in told] == pytest.approx([100 * mass for mass in masses], rel=0.06)
    for side, mass in zip(("before", "after"), told, strict=True):
        assert f"{mass}\u00a0% of this place" in page.locator(f"[data-side={side}] .shown").inner_text()


def test_steps_and_layers_are_compared_too(opened):
    page = opened("pair")
    page.locator("#compare").get_by_role("slider", name="Step").fill("1")
    settle(page)
    before, after = (maps.step(1)["rojo"].share for maps in (run(), stronger()))
    assert line(page, "rojo").locator(".shares").inner_text() == f"{percent(before)} → {percent(after)}"
    page.locator("#compare").get_by_label("Layer").select_option(index=2)
    settle(page)
    name = run().layers[1]
    before, after = (maps.layer(name).step(1)["rojo"].share for maps in (run(), stronger()))
    assert line(page, "rojo").locator(".shares").inner_text() == f"{percent(before)} → {percent(after)}"


def test_the_change_of_the_pictures_is_where_it_is(opened):
    page = opened("pair")
    page.get_by_label("difference of the pictures").check()
    canvas = pixels(page, "[data-side=difference] .overlay")
    height, width = canvas.shape[:2]
    assert canvas[: height // 5, : width // 5, 3].min() > 250
    assert canvas[height // 2 :, :, 3].max() == 0
    mean = promptattn.compare(run(), stronger(), images=(picture((64, 96)), changed_picture())).mean_change
    assert mean == pytest.approx(100 / 255 / 16)
    assert percent(mean) in page.locator("[data-side=difference] .shown").inner_text()


def test_the_table_is_walked_with_arrow_keys(opened):
    page = opened("pair")
    line(page, "gato").get_by_role("button").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    settle(page)
    assert line(page, "rojo").get_by_role("button").get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowDown")
    settle(page)
    assert page.locator("[data-side=after] .shown").inner_text().startswith("persigue")


def test_words_of_only_one_prompt_are_shown_where_they_are(opened):
    page = opened("apart")
    row = line(page, "gato")
    assert row.locator(".weights").inner_text() == "×1 → —"
    assert row.locator(".delta").inner_text() == "—"
    row.hover()
    settle(page)
    assert page.locator("[data-side=before] .shown").inner_text().startswith("gato")
    assert page.locator("[data-side=after] .shown").inner_text() == "not in this prompt"
    assert "only one of the prompts" in page.locator("[data-side=difference] .shown").inner_text()
    before, after = run()["un"].share, demo(text="un perro azul")["un"].share
    assert line(page, "un").first.locator(".shares").inner_text() == f"{percent(before)} → {percent(after)}"
    assert page.get_by_label("difference of the pictures").count() == 0  # they are of different sizes


def test_without_other_weights_the_word_that_changed_most_is_shown_first(opened):
    page = opened("apart")
    assert page.locator("select.chosen option:checked").inner_text() == "un"  # the only one in both
    page = opened("alike")
    change = {word.text: abs(reseeded()[word].share - stronger()[word].share) for word in stronger().words}
    assert page.locator("select.chosen option:checked").inner_text() == max(change, key=change.get) != "un"


def test_a_word_is_chosen_from_the_list_above_the_pictures(opened):
    page = opened("pair")
    page.locator("select.chosen").select_option("gris")
    settle(page)
    assert page.locator("[data-side=after] .shown").inner_text().startswith("gris")
    assert line(page, "gris").get_by_role("button").get_attribute("aria-pressed") == "true"
    line(page, "gato").get_by_role("button").click()
    settle(page)
    assert page.locator("select.chosen").locator("option:checked").inner_text() == "gato"


def test_what_else_is_not_the_same_is_said(opened):
    assert opened("pair").locator(".differs").is_hidden()
    page = opened("alike")
    assert page.locator(".differs").inner_text() == "Beside the prompt: seed 7 → 8"
    assert line(page, "gato").locator(".delta").inner_text() == "±0\u00a0pt ×1.00"


def test_nothing_to_compare_is_said(opened):
    page = opened("wordless_pair")
    assert "Neither image has maps" in page.locator(".note.place").inner_text()
    for part in (".changes", ".legend", "select.chosen"):
        assert page.locator(f"#compare {part}").first.is_hidden()
    page.get_by_label("difference of the pictures").check()
    page.locator("[data-side=difference] .shown", has_text="pictures").wait_for()


def test_one_can_go_to_a_single_image_and_back(opened):
    page = opened("pair")
    page.get_by_role("button", name="One image").click()
    assert page.locator("#compare").is_hidden()
    assert page.locator(".view:visible").count() == 1
    page.get_by_role("button", name="Compare two").click()
    assert page.locator(".trio").is_visible()


def test_compare_finds_names_shares_and_differences():
    found = promptattn.compare(run(), stronger())
    assert (found.before.name, found.after.name) == ("rojo ×1", "rojo ×2")
    np.testing.assert_array_equal(found["rojo"], stronger()["rojo"].array - run()["rojo"].array)
    assert found.shares["rojo", 0] == (run()["rojo"].share, stronger()["rojo"].share)
    other = promptattn.compare(run(), demo(text="un perro", size=(32, 32)))
    assert other.after.name == "un perro"
    assert set(other.shares) == {("un", 0)}
    assert other["un"].shape == (32, 32)
    with pytest.raises(CaptureError, match="perro"):
        other["perro"]
    with pytest.raises(ExportError, match="two pictures"):
        _ = other.mean_change


def test_compare_takes_folders_and_writes_one_file(tmp_path):
    for name, maps in (("a", run()), ("b", stronger())):
        maps.save(tmp_path / name, image=picture((64, 96)))
    found = promptattn.compare(tmp_path / "a", str(tmp_path / "b"), names=("plain", "strong"))
    file = found.save(tmp_path / "red.html")
    page = file.read_text(encoding="utf-8")
    assert page.count("<option value=") == 4
    assert "plain" in page
    with pytest.raises(ExportError, match="already exists"):
        found.save(file)
    assert found.save(file, force=True) == file
    with pytest.raises(ConfigError, match=r"does not end in \.html"):
        found.save(tmp_path / "red.png")
    with pytest.raises(ExportError, match="cannot be written"):
        found.save(file / "red.html")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "red.html"}


def test_missing_folders_of_a_comparison_are_made_and_go_again_if_it_fails(tmp_path, monkeypatch):
    def full(shown, file, **more):
        file.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    found = promptattn.compare(run(), stronger())
    file = tmp_path / "deep" / "deeper" / "red.html"
    with monkeypatch.context() as patch:
        patch.setattr("promptattn.export.comparison.write_page", full)
        with pytest.raises(ExportError, match="cannot be written: No space left"):
            found.save(file)
    assert not list(tmp_path.iterdir())
    assert found.save(file) == file
    assert [path.name for path in file.parent.iterdir()] == ["red.html"]


def test_compare_says_what_it_cannot_take():
    with pytest.raises(ConfigError, match="not int"):
        promptattn.compare(1, run())
    with pytest.raises(CaptureError, match="no image 3"):
        promptattn.compare(run(), stronger(), index=3)
    with pytest.raises(ExportError, match="no maps"):
        promptattn.compare("nowhere", run())
