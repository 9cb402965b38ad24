"""The study as images: one case, arms down, weights across, all from the same latents."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from promptattn.export.sheet import FAINT, GROUND, INK, magnify
from promptattn.export.text import fit, font
from promptattn.shapes.study.cases import Case
from promptattn.shapes.study.cells import WEIGHTS, Cell
from promptattn.shapes.study.painter import Painter

__all__ = ["strip"]

_SIDE, _GAP, _MARGIN, _LABEL, _HEAD = 112, 6, 20, 96, 54


def strip(painter: Painter, case: Case, target: str, arms: Sequence[str]) -> Image.Image:
    """One row of images for each arm, one column for each weight; equal effects are painted once."""
    painted: dict[object, np.ndarray] = {}
    for cell in (Cell(arm, weight, target) for arm in arms for weight in WEIGHTS):
        if cell.effect not in painted:
            painted[cell.effect] = painter(cell, [case])[0].image
    pictures = {effect: magnify(Image.fromarray(image), _SIDE) for effect, image in painted.items()}
    tall = max(picture.height for picture in pictures.values())
    width = 2 * _MARGIN + _LABEL + len(WEIGHTS) * (_SIDE + _GAP)
    sheet = Image.new("RGB", (width, 2 * _MARGIN + _HEAD + len(arms) * (tall + _GAP)), GROUND)
    draw = ImageDraw.Draw(sheet)
    mark = case.own[target]
    title = f"{case.text[: mark.start]}({case.text[mark.start : mark.end]}:w){case.text[mark.end :]}"
    draw.text((_MARGIN, _MARGIN - 6), fit(title, 20, width - 2 * _MARGIN), font=font(20), fill=INK)
    for row, arm in enumerate(arms):
        top = _MARGIN + _HEAD + row * (tall + _GAP)
        draw.text((_MARGIN, top + tall // 2 - 10), arm, font=font(16), fill=FAINT)
        for column, weight in enumerate(WEIGHTS):
            left = _MARGIN + _LABEL + column * (_SIDE + _GAP)
            draw.text((left, _MARGIN + _HEAD - 22), f"{weight:g}", font=font(16), fill=FAINT)
            sheet.paste(pictures[Cell(arm, weight, target).effect], (left, top))
    return sheet
