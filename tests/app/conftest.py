"""The app, served to a headless Chromium. Without gradio or a browser these tests are skipped."""

import pytest

UPLOAD_MB = 1
QUEUE = 1


@pytest.fixture(scope="session")
def address(chromium):
    """Where the app is served; one for all tests, as it is for all people."""
    pytest.importorskip("gradio", reason="gradio is not installed")
    from promptattn.app.serving import serving

    with serving(["shapes", "shapes-dit"], upload_mb=UPLOAD_MB, queue=QUEUE, device="cpu") as served:
        yield served


@pytest.fixture
def page_of(chromium, address):
    """Opens the app as one more person; fails on any error of a page, and on any request to elsewhere."""
    contexts, problems = [], []

    def open_page(*, expected=(), heard=lambda url: None, **options):
        def said_in_console(said):
            if said.type == "error" and not any(each in said.text for each in expected):
                problems.append(said.text)

        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 1100}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", said_in_console)
        page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda asked: None if _is_own(asked.url, address) else problems.append(asked.url))
        page.on("request", lambda asked: heard(asked.url))
        page.on("websocket", lambda asked: problems.append(asked.url))
        page.goto(address)
        page.locator("#pa-prompt-seen .pa-text").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def _is_own(url, address):
    return url.startswith((address, "data:", "blob:", "about:"))
