"""The picture of word-to-word attention, in a text encoder or in joint attention: rows attend to columns."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from promptattn.export.text import drawable, fit, font
from promptattn.maps.colormap import colormap
from promptattn.maps.paint import level_of
from promptattn.maps.records import TextAttention
from promptattn.prompt import Word

__all__ = ["text_attention_picture"]

GROUND, INK, FAINT = (18, 17, 22), (240, 236, 230), (150, 145, 155)
EMPTY = (30, 29, 36)
MARGIN, LABEL, CELL = 28, 132, 44
MOST = 96  # words per side: more would be too small to read
MOST_PANELS = 6  # a very long prompt is read in very many parts


def text_attention_picture(
    encoders: Sequence[TextAttention], words: Sequence[Word], *, colors: str = "ember"
) -> Image.Image:
    """One word x word matrix for each of `encoders`, side by side, as an RGB picture.

    A cell is the mass that the row's word gives to the column's word, mean over layers and heads; a blank cell is an
    exact 0, as where a causal encoder cannot look ahead. What a row lacks of 1 went to markers, and in joint attention
    to the image and to other encoders' words as well.
    """
    panels = [_panel(encoder, words, colors) for encoder in encoders[:MOST_PANELS]]
    if len(encoders) > MOST_PANELS:
        draw = ImageDraw.Draw(panels[0])
        note = f"The first {MOST_PANELS} of {len(encoders)}; all are in maps.npz."
        draw.text((MARGIN, MARGIN + 40), note, font=font(14), fill=FAINT)
    sheet = Image.new("RGB", (sum(panel.width for panel in panels), max(panel.height for panel in panels)), GROUND)
    x = 0
    for panel in panels:
        sheet.paste(panel, (x, 0))
        x += panel.width
    return sheet


def _panel(encoder: TextAttention, words: Sequence[Word], colors: str) -> Image.Image:
    words = encoder.reads(words)
    shown = words[:MOST]
    matrix = encoder.word_matrix(shown)
    cell = CELL if len(shown) <= 24 else 22
    side = cell * max(1, len(shown))
    width, height = max(2 * MARGIN + LABEL + side, 560), 3 * MARGIN + 40 + LABEL + side + 26
    panel = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(panel)
    draw.text((MARGIN, MARGIN - 8), f"Between words · {encoder.encoder}", font=font(22), fill=INK)
    draw.text((MARGIN, MARGIN + 22), "each row attends to the columns, in %", font=font(14), fill=FAINT)
    left, top = MARGIN + LABEL, MARGIN + 40 + LABEL
    names = [fit(drawable(word.text, f"word {word.index}"), 16, LABEL - 12) for word in shown]
    for i, name in enumerate(names):
        draw.text((left - 8, top + cell * (i + 0.5)), name, font=font(16), fill=INK, anchor="rm")
        panel.paste(_upright(name), (int(left + cell * (i + 0.5) - 11), top - LABEL))
    _cells(draw, matrix, (left, top), cell, colors)
    elsewhere = "start and end markers" if encoder.image is None else "the image, markers and other encoders"
    note = f"The rest of each row went to {elsewhere}: {_rest(encoder, matrix):.0f} % on average."
    if len(words) > MOST:
        note = f"The first {MOST} of {len(words)} words; all are in maps.npz."
    draw.text((MARGIN, top + side + 18), fit(note, 14, width - 2 * MARGIN), font=font(14), fill=FAINT)
    return panel


def _upright(name: str) -> Image.Image:
    strip = Image.new("RGB", (LABEL - 6, 22), GROUND)
    ImageDraw.Draw(strip).text((0, 11), name, font=font(16), fill=INK, anchor="lm")
    return strip.rotate(90, expand=True)


def _cells(
    draw: ImageDraw.ImageDraw, matrix: NDArray[np.float32], place: tuple[int, int], cell: int, colors: str
) -> None:
    left, top = place
    table, level = colormap(colors), level_of(matrix)
    for row, column in np.ndindex(*matrix.shape):
        x, y = left + cell * column, top + cell * row
        mass, at = float(matrix[row, column]), float(level[row, column])
        color = tuple(int(c) for c in table[round(at * 255)]) if mass > 0 else EMPTY
        draw.rectangle([x, y, x + cell - 2, y + cell - 2], fill=color)
        if cell >= CELL and mass > 0:
            ink = "black" if _luminance(color) > 0.179 else "white"
            draw.text((x + cell / 2 - 1, y + cell / 2), f"{100 * mass:.0f}", font=font(14), fill=ink, anchor="mm")


def _luminance(color: Sequence[int]) -> float:
    """The relative luminance of a colour, from 0 to 1 (WCAG 2.2): above 0.179 black is easier to read than white."""
    red, green, blue = (each / 3294.6 if each <= 10 else ((each / 255 + 0.055) / 1.055) ** 2.4 for each in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _rest(encoder: TextAttention, matrix: NDArray[np.float32]) -> float:
    rows = matrix.sum(axis=1)
    return 100 * (1 - float(rows[rows > 0].mean())) if (rows > 0).any() else 100.0
