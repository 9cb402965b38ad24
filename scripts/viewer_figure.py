"""The pictures in docs/viewer.md: pages as Chromium shows them. Needs playwright and a browser.

python scripts/viewer_figure.py --out docs/figures/viewer.png --compared docs/figures/viewer_compared.png
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
def opened(file: Path, height: int) -> Iterator[Page]:
    """The page in a window of this height, as soon as it is ready."""
    with sync_playwright() as driver:
        found = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1200, "height": height}, color_scheme="light")
        view.goto(file.resolve().as_uri())
        view.wait_for_selector("[data-ready]:visible")
        yield view
        browser.close()


def photograph_look(folder: Path, seed: int, word: str, out: Path) -> None:
    """A run with steps and heads kept apart: a word kept, and the pointer on the picture."""
    capture = promptattn.Capture(per_step=True, per_head=True, patches=[(0.55, 0.7)])
    made = promptattn.generate("shapes-dit", PROMPT, seed=seed, capture=capture)
    with opened(made.save(folder / "run") / "index.html", 945) as view:
        view.locator("button.chip", has_text=word).click()
        box = view.locator(".frame").bounding_box()
        assert box is not None
        view.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.55 * box["height"])
        view.wait_for_timeout(300)
        view.screenshot(path=out)


def photograph_compared(folder: Path, seed: int, out: Path) -> None:
    """Two weights of one word side by side."""
    plain, strong = (promptattn.generate("shapes-dit", prompt, seed=seed) for prompt in (BEFORE, PROMPT))
    with opened(promptattn.compare(plain, strong).save(folder / "compared.html"), 960) as view:
        view.wait_for_timeout(300)
        view.screenshot(path=out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="Where the picture of one run goes.")
    parser.add_argument("--compared", type=Path, help="Where the picture of two weights goes.")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--word", default="azul", help="The word that is kept in the picture of one run.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.out:
            photograph_look(Path(folder), asked.seed, asked.word, asked.out)
        if asked.compared:
            photograph_compared(Path(folder), asked.seed, asked.compared)


if __name__ == "__main__":
    main()
