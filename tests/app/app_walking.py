"""What a person does on the page: types, presses, waits, saves."""

from pathlib import Path

UNTIL_NEW = """([name, before]) => {
    const frame = document.querySelector(`#pa-${name}-viewer iframe`);
    return frame && frame.srcdoc !== before;
}"""


def write(page, name, text):
    page.locator(f"#pa-{name} textarea").fill(text)


def shaded(page, name, text):
    """Waits until the shaded copy of a prompt is that text."""
    page.wait_for_function(
        "([name, text]) => document.querySelector(`#pa-${name}-seen .pa-text`)?.textContent === text", arg=[name, text]
    )
    return page.locator(f"#pa-{name}-seen")


def set_number(page, name, value):
    page.locator(f"#pa-{name} input").fill(str(value))


def set_steps(page, steps, seed=0):
    set_number(page, "steps", steps)
    set_number(page, "seed", seed)


def choose(page, name, option):
    page.locator(f"#pa-{name} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def run(page, name):
    """Press the button of a tab, and wait for the page that comes of it."""
    viewer = page.locator(f"#pa-{name}-viewer iframe")
    before = viewer.get_attribute("srcdoc") if viewer.count() else None
    page.locator(f"#pa-{name}").click()
    page.wait_for_function(UNTIL_NEW, arg=[name, before])
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
