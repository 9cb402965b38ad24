"""The contact sheet: the image, and every word's map over it, side by side with its share of the attention."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from promptattn.export.subjects import Subject
from promptattn.export.text import Draw, drawable, fit, font, legible, wrap
from promptattn.maps.colormap import colormap
from promptattn.maps.paint import blend, level_of, own_scale

__all__ = ["contact_sheet", "magnify"]

GROUND, INK, FAINT, ACCENT = (18, 17, 22), (240, 236, 230), (150, 145, 155), (251, 150, 45)
MARGIN, GAP, LABEL = 28, 14, 40
MOST_PIXELS = 24_000_000  # of all cells together: a prompt of thousands of words still gives a picture one can open


def magnify(image: Image.Image, long_side: int) -> Image.Image:
    """`image` with its long side at `long_side` pixels: whole pixels when growing (crisp), averaged when shrinking."""
    scale = long_side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS)


def contact_sheet(
    title: str, image: Image.Image, words: Sequence[Subject], *, alpha: float, colors: str
) -> Image.Image:
    """A sheet as an RGB picture: `title` (the prompt), `image`, then one cell for each of `words`."""
    count = len(words) + 1
    side = int(min(224, max(64, math.sqrt(MOST_PIXELS / count))))
    base = magnify(image, side)
    across = _across(count, base.height / base.width)
    down = math.ceil(count / across)
    width = max(2 * MARGIN + across * base.width + (across - 1) * GAP, 2 * MARGIN + 420)
    lines = wrap(legible(title), 22, width - 2 * MARGIN, 3)
    top = MARGIN + 30 * len(lines) + GAP
    height = top + down * (base.height + LABEL) + (down - 1) * GAP + 34 + MARGIN
    sheet = Image.new("RGB", (width, height), GROUND)
    draw = ImageDraw.Draw(sheet)
    for i, line in enumerate(lines):
        draw.text((MARGIN, MARGIN - 6 + 30 * i), line, font=font(22), fill=INK)
    for cell in range(count):
        x = MARGIN + (cell % across) * (base.width + GAP)
        y = top + (cell // across) * (base.height + LABEL + GAP)
        if cell == 0:
            sheet.paste(base, (x, y))
            draw.text((x, y + base.height + 8), fit("image", 16, base.width), font=font(16), fill=FAINT)
        else:
            _cell(sheet, draw, (x, y), base, words[cell - 1], alpha, colors)
    _legend(sheet, draw, (MARGIN, height - MARGIN - 16), width - 2 * MARGIN, colors)
    return sheet


def _across(count: int, slimness: float) -> int:
    """Cells in a row: a sheet of about 8 to 5, with as few empty places in the last row as may be."""
    ideal = math.sqrt(count * 1.6 * slimness)
    fitting = range(max(2, round(0.75 * ideal)), max(2, round(1.3 * ideal)) + 1)
    return min(fitting, key=lambda across: (-count % across, abs(across - ideal)))


def _cell(
    sheet: Image.Image, draw: Draw, place: tuple[int, int], base: Image.Image, word: Subject, alpha: float, colors: str
) -> None:
    x, y = place
    mass = word.heat.resized((base.height, base.width))
    level = level_of(mass, *own_scale(mass))
    sheet.paste(blend(base, level, alpha=alpha, colormap=colors), place)
    share = f"{100 * word.share:.1f} %"
    wide = font(14).getlength(share)
    draw.text((x + base.width - wide, y + base.height + 9), share, font=font(14), fill=FAINT)
    name = drawable(word.label, f"word {word.index}")
    weight = word.heat.weight
    mark = "" if weight is None or weight == 1 else f" ({weight:.4g})"
    room = base.width - wide - 8
    name = fit(name, 16, room - font(16).getlength(mark))
    draw.text((x, y + base.height + 8), name, font=font(16), fill=INK)
    draw.text((x + font(16).getlength(name), y + base.height + 8), mark, font=font(16), fill=ACCENT)


def _legend(sheet: Image.Image, draw: Draw, place: tuple[int, int], width: int, colors: str) -> None:
    x, y = place
    bar = Image.fromarray(colormap(colors)[None]).resize((160, 12))
    sheet.paste(bar, (x, y + 3))
    text = fit("each word's least to largest mass · % = its share of all attention", 14, width - 172)
    draw.text((x + 172, y), text, font=font(14), fill=FAINT)
