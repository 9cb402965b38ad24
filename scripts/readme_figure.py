"""The README's picture: one seed, one word's weight rising, and the maps of the words that matter.

python scripts/readme_figure.py --out docs/figures/readme.png
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

import promptattn
from promptattn.export.sheet import FAINT, GROUND, INK, magnify
from promptattn.export.text import font

PROMPT = "un gato (rojo:{weight}) a la izquierda de una estrella azul sobre un fondo blanco"
SIDE, GAP, MARGIN, LABEL = 200, 12, 26, 34


def figure(model: str, prompt: str, weights: list[str], words: list[str], shown: str, seed: int) -> Image.Image:
    """A row of images, one per weight, over a row of maps, one per word, at the weight `shown`."""
    pipe = promptattn.load(model)
    made = {weight: promptattn.generate(pipe, prompt.format(weight=weight), seed=seed) for weight in weights}
    main = made[shown]
    assert main.maps is not None
    top = [(magnify(made[weight].images[0], SIDE), f"(rojo:{weight})", INK) for weight in weights]
    maps = [(magnify(main.maps[word].overlay(main.images[0]), SIDE), f"map of “{word}”", FAINT) for word in words]
    return _grid([top, maps], title=prompt.format(weight="w"))


def _grid(rows: list[list[tuple[Image.Image, str, tuple[int, int, int]]]], title: str) -> Image.Image:
    across = max(len(row) for row in rows)
    width = 2 * MARGIN + across * SIDE + (across - 1) * GAP
    height = 2 * MARGIN + 36 + len(rows) * (SIDE + LABEL + GAP) - GAP
    sheet = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 6), title, font=font(22), fill=INK)
    for down, row in enumerate(rows):
        for along, (picture, label, ink) in enumerate(row):
            x = MARGIN + along * (SIDE + GAP)
            y = MARGIN + 36 + down * (SIDE + LABEL + GAP)
            sheet.paste(picture, (x, y))
            draw.text((x, y + SIDE + 7), label, font=font(16), fill=ink)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/figures/readme.png"))
    parser.add_argument("--prompt", default=PROMPT, help="with {weight} in the place of the weight")
    parser.add_argument("--weights", nargs="+", default=["0", "0.8", "1", "1.4"])
    parser.add_argument("--shown", default="1", help="the weight whose maps are shown")
    parser.add_argument("--words", nargs="+", default=["gato rojo", "rojo", "estrella azul", "azul"])
    parser.add_argument("--model", default="shapes-dit")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    picture = figure(options.model, options.prompt, options.weights, options.words, options.shown, options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    picture.save(options.out, optimize=True)


if __name__ == "__main__":
    main()
