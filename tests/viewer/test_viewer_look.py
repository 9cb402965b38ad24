"""How a page looks and is read: small screens, dark and light, contrast, names, motion, and pages within notebooks."""

import re

import pytest
from made import run
from synthetic import demo, picture
from test_viewer_words import chip, shown

PAGES = ("one", "pair", "batch", "foreign", "large")

# WCAG 2.2: relative luminance and contrast of an element's text against what lies behind it.
CONTRAST = """(selector) => [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility()).map((of) => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const layers = [];
    for (let e = of; e; e = e.parentElement) layers.unshift(getComputedStyle(e).backgroundColor);
    const fill = (color) => { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); };
    fill("white"); layers.forEach(fill);
    const read = () => { const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((c) => {
        c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const ground = read();
    fill(getComputedStyle(of).color);
    const [low, high] = [ground, read()].sort((a, b) => a - b);
    return [of.className || of.tagName, (high + 0.05) / (low + 0.05)];
})"""

TEXTS = "h2, .name, .share, .weight, .shown, .shown small, .low, .now, label, summary, .note, td:not(.nothing), th, bdi"


@pytest.mark.parametrize("name", PAGES)
def test_nothing_runs_over_the_edge_of_a_small_screen(opened, name):
    page = opened(name, viewport={"width": 320, "height": 800})
    for width in (320, 390, 768):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator(".frame:visible").first.bounding_box()["width"] >= 120


def test_on_a_phone_the_words_stand_right_under_the_picture(opened):
    page = opened("one", viewport={"width": 390, "height": 844})
    places = [page.locator(part).first.bounding_box()["y"] for part in (".frame", ".prompt", ".controls", ".thumbs")]
    assert places == sorted(places)
    assert page.locator(".prompt").bounding_box()["y"] < 844
    for button in page.locator("button.chip:not(.other)").all():
        assert button.bounding_box()["height"] >= 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["one", "pair", "shades", "gray_shades", "cut"])
def test_every_text_can_be_read_in_light_and_dark(opened, name, scheme):
    page = opened(name, color_scheme=scheme)
    page.locator(".frame:visible").first.hover()  # chips take the colour of the place
    found = page.evaluate(CONTRAST, TEXTS)
    assert len(found) > 40
    assert [each for each in found if each[1] < 4.5] == []
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 100) == (scheme == "dark")


def test_dark_and_light_can_be_chosen(opened):
    page = opened("one", color_scheme="light")
    button = page.get_by_role("button", name="Colours")
    grounds = set()
    for expected in ("dark", "light", "as the system"):
        button.click()
        assert button.get_attribute("aria-label") == f"Colours: {expected}"
        grounds.add(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    assert len(grounds) == 2


@pytest.mark.parametrize("name", PAGES)
def test_every_control_has_a_name(opened, name):
    page = opened(name)
    tree = page.locator("body").aria_snapshot()
    assert "- button" in tree
    assert [
        each for each in tree.splitlines() if re.match(r"\s*- (button|combobox|slider|checkbox|img)(?! \")", each)
    ] == []


def test_whoever_wants_no_motion_gets_none(opened):
    page = opened("one", reduced_motion="reduce")
    moving = "[...document.querySelectorAll('*')].filter((e) => getComputedStyle(e).transitionDuration !== '0s').length"
    assert page.evaluate(moving) == 0
    assert opened("one").evaluate(moving) > 0


def test_bars_scale_and_choice_are_seen_in_high_contrast(opened):
    page = opened("pair", forced_colors="active")
    ground = "(element) => getComputedStyle(element).backgroundColor"
    pressed = {
        mode.get_attribute("aria-pressed"): mode.evaluate(ground) for mode in page.locator(".modes button").all()
    }
    assert pressed["true"] != pressed["false"]
    page_ground = page.locator("html").evaluate(ground)
    bars = {page.locator(f".bar.{side}").first.evaluate(ground) for side in ("before", "after")}
    assert len(bars | {page_ground}) == 3
    assert "gradient" in page.locator(".gradient").first.evaluate("(e) => getComputedStyle(e).backgroundImage")


def test_a_page_has_one_heading_above_all_others(opened):
    for name in ("one", "pair", "wordless"):
        assert opened(name).get_by_role("heading", level=1).count() == 1


def test_maps_show_themselves_in_a_notebook(chromium, tmp_path):
    outer = tmp_path / "notebook.html"
    outer.write_text(
        f"<!doctype html><meta charset=utf-8><style>p {{ color: red }}</style>{run()._repr_html_()}", "utf-8"
    )
    page = chromium.new_page()
    page.goto(outer.as_uri())
    inner = page.frame_locator("iframe")
    inner.locator("[data-ready]").wait_for()
    assert inner.locator("h2").first.evaluate("(e) => getComputedStyle(e).color") != "rgb(255, 0, 0)"
    inner.locator("button.chip", has_text="gato").hover()
    inner.locator(".shown", has_text="gato").wait_for()
    assert inner.get_by_role("slider", name="Step").is_visible()
    page.close()


def test_a_comparison_shows_itself_in_a_notebook(chromium, tmp_path):
    import promptattn

    found = promptattn.compare(run(), demo(size=(64, 96)), images=(picture((64, 96)), picture((64, 96))))
    outer = tmp_path / "notebook.html"
    outer.write_text(f"<!doctype html><meta charset=utf-8>{found._repr_html_()}", "utf-8")
    page = chromium.new_page()
    page.goto(outer.as_uri())
    inner = page.frame_locator("iframe")
    inner.locator("#compare[data-ready]").wait_for()
    # Pixels can be read within the frame, though it shares nothing with the page around it.
    inner.get_by_label("difference of the pictures").check()
    inner.locator("[data-side=difference] .shown", has_text="pictures").wait_for()
    page.close()


def test_viewers_in_one_notebook_leave_each_other_alone_and_take_its_theme(chromium, tmp_path):
    outer = tmp_path / "notebook.html"
    views = "".join(maps._repr_html_() for maps in (run(), demo(text="a red cat")))
    outer.write_text(f"<!doctype html><meta charset=utf-8><body style='color-scheme: dark'>{views}", "utf-8")
    context = chromium.new_context(color_scheme="null")  # as without Playwright: a light system
    page = context.new_page()
    page.goto(outer.as_uri())
    first, second = (page.frame_locator("iframe").nth(place) for place in (0, 1))
    for inner in (first, second):
        inner.locator("[data-ready]").wait_for()
        ground = inner.locator("html").evaluate("(e) => getComputedStyle(e).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", ground)[:3])) < 100
    kept = first.locator("button.chip.active").inner_text()
    second.locator("button.chip", has_text="cat").click()
    second.locator(".shown", has_text="cat").wait_for()
    assert first.locator("button.chip.active").inner_text() == kept
    context.close()


def test_a_script_that_is_not_the_pages_does_not_run(opened, folder, chromium):
    page = opened("evil")
    assert page.evaluate("typeof alerted") == "undefined"
    assert chip(page, "alert").is_visible()
    assert shown(page)
    # Nor would one that had got into the page.
    text = (folder / "one.html").read_text("utf-8")
    alien = "<script>hacked = 1</script><img src=x onerror='hacked = 1'><script src='data:,hacked = 1'></script>"
    (folder / "alien.html").write_text(text.replace("<body>", f"<body>{alien}"), "utf-8")
    page = chromium.new_page()
    page.goto((folder / "alien.html").as_uri())
    page.wait_for_selector("[data-ready]")
    assert page.evaluate("typeof hacked") == "undefined"
    page.close()


def test_a_page_can_reach_nothing(chromium, folder):
    page = chromium.new_page()
    page.goto((folder / "one.html").as_uri())
    page.wait_for_selector("[data-ready]")
    refused = page.evaluate("""async () => {
        const refused = [], outside = "http://127.0.0.1:9/", image = new Image();
        addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
        image.src = outside;
        await fetch(outside).catch(() => {});
        const form = document.body.appendChild(document.createElement("form"));
        form.action = outside;
        form.submit();
        await new Promise((done) => setTimeout(done, 300));
        return refused;
    }""")
    assert sorted(refused) == ["connect-src", "form-action", "img-src"]
    page.close()
