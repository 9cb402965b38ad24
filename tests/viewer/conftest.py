"""A headless Chromium for the viewer's tests, and pages to open in it. Without one the tests are skipped."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "maps"))  # the made-up run is shared with the tests of the maps

from made import pages

from promptattn.export.viewer import write_page


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Every page of `made.pages`, written once."""
    folder = tmp_path_factory.mktemp("pages")
    for name, (shown, options) in pages().items():
        write_page(shown, folder / f"{name}.html", **options)
    return folder


@pytest.fixture
def opened(chromium, folder):
    """Opens a page by name from its file, with the options of a browser context; fails on any error or request."""
    contexts, problems = [], []

    def open_page(name, *, script=None, **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if said.type in ("error", "warning") else None)
        page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda asked: None if _is_local(asked.url) else problems.append(asked.url))
        if script:
            page.add_init_script(script)
        page.goto((folder / f"{name}.html").as_uri())
        page.wait_for_selector("[data-ready]:visible")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def _is_local(url):
    return url.startswith(("file:", "data:", "about:", "blob:"))
