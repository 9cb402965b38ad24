"""The pictures in docs/viewer.md and docs/app.md: pages as Chromium shows them. Needs playwright and a browser.

python scripts/page_figures.py --look docs/figures/viewer.png --compared docs/figures/viewer_compared.png
python scripts/page_figures.py --app docs/figures/app.png        # needs gradio too
"""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

import promptattn

PROMPT = "un gato (rojo:1.4) a la izquierda de una estrella azul sobre un fondo blanco"
BEFORE = PROMPT.replace("(rojo:1.4)", "(rojo:0.4)")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def opened(address: str, height: int) -> Iterator[Page]:
    """The page in a window of this height."""
    with sync_playwright() as driver:
        found = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1200, "height": height}, color_scheme="light")
        view.goto(address)
        yield view
        browser.close()


@contextmanager
def exported(file: Path, height: int) -> Iterator[Page]:
    """An exported page, as soon as it is ready."""
    with opened(file.resolve().as_uri(), height) as view:
        view.wait_for_selector("[data-ready]:visible")
        yield view


def photograph_look(folder: Path, seed: int, word: str, out: Path) -> None:
    """A run with steps and heads kept apart: a word kept, and the pointer on the picture."""
    capture = promptattn.Capture(per_step=True, per_head=True, patches=[(0.55, 0.7)])
    made = promptattn.generate("shapes-dit", PROMPT, seed=seed, capture=capture)
    with exported(made.save(folder / "run") / "index.html", 945) as view:
        view.locator("button.chip", has_text=word).click()
        box = view.locator(".frame").bounding_box()
        assert box is not None
        view.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.55 * box["height"])
        view.wait_for_timeout(300)
        view.screenshot(path=out)


def photograph_compared(folder: Path, seed: int, out: Path) -> None:
    """Two weights of one word side by side."""
    plain, strong = (promptattn.generate("shapes-dit", prompt, seed=seed) for prompt in (BEFORE, PROMPT))
    with exported(promptattn.compare(plain, strong).save(folder / "compared.html"), 960) as view:
        view.wait_for_timeout(300)
        view.screenshot(path=out)


def photograph_app(seed: int, out: Path) -> None:
    """The app with a prompt written and its image made."""
    from promptattn.app.serving import serving

    with serving(["shapes-dit"]) as address, opened(address, 1180) as view:
        view.locator("#pa-prompt textarea").fill(PROMPT)
        view.locator("#pa-seed input").fill(str(seed))
        view.locator("#pa-make").click()
        view.frame_locator("#pa-make-viewer iframe").locator("[data-ready]:visible").first.wait_for()
        view.wait_for_timeout(1000)
        view.screenshot(path=out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--look", type=Path, help="Where the picture of one run goes.")
    parser.add_argument("--compared", type=Path, help="Where the picture of two weights goes.")
    parser.add_argument("--app", type=Path, help="Where the picture of the app goes.")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--word", default="azul", help="The word that is kept in the picture of one run.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.look:
            photograph_look(Path(folder), asked.seed, asked.word, asked.look)
        if asked.compared:
            photograph_compared(Path(folder), asked.seed, asked.compared)
        if asked.app:
            photograph_app(asked.seed, asked.app)


if __name__ == "__main__":
    main()
