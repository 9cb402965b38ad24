"""The picture in docs/viewer.md: the page of one run as Chromium shows it. Needs playwright and a browser.

python scripts/viewer_figure.py --out docs/figures/viewer.png
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

import promptattn

PROMPT = "un gato (rojo:1.4) a la izquierda de una estrella azul sobre un fondo blanco"


def page(folder: Path, seed: int) -> Path:
    """The viewer of a run with its steps and heads kept apart."""
    capture = promptattn.Capture(per_step=True, per_head=True, patches=[(0.55, 0.7)])
    return promptattn.generate("shapes", PROMPT, seed=seed, capture=capture).save(folder) / "index.html"


def photographed(file: Path, word: str, out: Path) -> None:
    """The upper part of the page with a word kept and the pointer on the picture."""
    browsers = ("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as driver:
        found = next(filter(None, map(shutil.which, browsers)), None)
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1200, "height": 945}, color_scheme="light")
        view.goto(file.resolve().as_uri())
        view.wait_for_selector("[data-ready]")
        view.locator("button.chip", has_text=word).click()
        box = view.locator(".frame").bounding_box()
        assert box is not None
        view.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.55 * box["height"])
        view.wait_for_timeout(300)
        view.screenshot(path=out)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--word", default="azul")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photographed(page(Path(folder) / "run", asked.seed), asked.word, asked.out)


if __name__ == "__main__":
    main()
