"""What lies where: nothing covers anything else, and the picture is in sight while its words are pointed at."""

import pytest

DESKS = ({"width": 1280, "height": 900}, {"width": 1280, "height": 700})
PHONE = {"width": 390, "height": 844}

# The bottom of the upper element less the top of the lower one: above 0 where it covers it, at any place of the page.
COVERED = """async ([upper, lower]) => {
    const box = (name) => [...document.querySelectorAll(name)].find((e) => e.checkVisibility()).getBoundingClientRect();
    let most = -Infinity;
    for (let at = 0; at <= document.documentElement.scrollHeight; at += 150) {
        scrollTo(0, at);
        await new Promise((done) => requestAnimationFrame(done));
        most = Math.max(most, box(upper).bottom - box(lower).top);
    }
    return most;
}"""


@pytest.mark.parametrize("size", [*DESKS, PHONE], ids=["desk", "low", "phone"])
def test_the_picture_covers_nothing_that_stands_below_it(opened, size):
    page = opened("one", viewport=size)
    for lower in (".tables", ".notes"):
        assert page.evaluate(COVERED, [".stage figure", lower]) <= 0


@pytest.mark.parametrize(("name", "part"), [("large", ".thumb"), ("pair", ".changes tbody tr")])
def test_the_picture_is_in_sight_while_its_last_word_is_pointed_at(opened, name, part):
    page = opened(name)
    last = page.locator(f"{part}:visible").last
    last.evaluate("(element) => element.scrollIntoView({ block: 'end' })")
    frame, word = page.locator(".frame:visible").first.bounding_box(), last.bounding_box()
    assert frame["y"] >= 0
    assert frame["y"] + 0.9 * frame["height"] <= DESKS[0]["height"]
    assert word["y"] + word["height"] <= DESKS[0]["height"] + 1


def test_on_a_phone_the_picture_is_in_sight_while_steps_are_gone_through(opened):
    page = opened("large", viewport=PHONE)
    slider = page.get_by_role("slider", name="Step")
    slider.evaluate("(element) => element.scrollIntoView({ block: 'center' })")
    frame, steps = page.locator(".frame").bounding_box(), slider.bounding_box()
    assert frame["y"] >= 0
    assert frame["y"] + frame["height"] < steps["y"] < PHONE["height"]


@pytest.mark.parametrize("name", ["tall", "tall_pair"])
@pytest.mark.parametrize("size", [*DESKS, PHONE], ids=["desk", "low", "phone"])
def test_a_tall_picture_fits_into_the_window(opened, name, size):
    page = opened(name, viewport=size)
    for frame in page.locator(".frame:visible").all():
        box = frame.bounding_box()
        assert box["height"] == pytest.approx(3 * box["width"], rel=0.01)
        assert 200 < box["height"] < 0.75 * size["height"]


@pytest.mark.parametrize("size", DESKS, ids=["desk", "low"])
def test_picture_and_controls_are_in_the_window_together(opened, size):
    page = opened("one", viewport=size)
    page.evaluate("scrollTo(0, 80)")
    assert page.locator(".stage").evaluate("(stage) => stage.getBoundingClientRect().bottom") <= size["height"]


def test_an_endless_word_leaves_its_numbers_in_sight(opened):
    page = opened("unbroken", viewport=PHONE)
    page.locator(".relation").scroll_into_view_if_needed()
    for cell in page.locator(".relation td:not(.nothing)[tabindex]").all():
        assert cell.bounding_box()["x"] + cell.bounding_box()["width"] <= PHONE["width"]


@pytest.mark.parametrize(("name", "part", "size"), [("large", "button.chip", PHONE), ("long_pair", ".word", DESKS[0])])
def test_what_the_keyboard_goes_back_to_is_not_under_the_picture(opened, name, part, size):
    page = opened(name, viewport=size)
    seen = """(element) => {
        const { x, y } = element.getBoundingClientRect();
        return element.contains(document.elementFromPoint(x + 12, y + 12));
    }"""
    page.locator(f"{part}:visible").last.focus()
    for _ in range(page.locator(f"{part}:visible").count() - 1):
        page.keyboard.press("ArrowLeft" if part == "button.chip" else "ArrowUp")
        assert page.locator(":focus").evaluate(seen)
    assert page.locator(f"{part}:visible").first.evaluate("(e) => e === document.activeElement")
