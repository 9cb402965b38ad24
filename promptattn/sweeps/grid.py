"""A sweep in one picture: the prompt above, values at the sides in the colour that they have in the prompt."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from PIL import Image, ImageDraw

from promptattn.export.sheet import FAINT, GROUND, INK, MARGIN, magnify
from promptattn.export.text import Draw, drawable, fit, font, legible, wrap
from promptattn.maps.colormap import colormap
from promptattn.sweeps.layout import Label, Panel

__all__ = ["AXIS_COLORS", "Caption", "Page", "draw_grid"]

AXIS_COLORS = ((251, 150, 45), (94, 196, 214))
"""Of the first and the second axis."""

NOTHING = "(nothing)"  # how an empty value is labelled

_GAP, _PAD = 10, 12
_TITLE, _FACTS, _LABEL, _SMALL = 24, 15, 19, 14
_LINE = 1.35  # of a font's size
_MOST_WIDE = 2400  # pixels of all columns together
_SIDE = (128, 384)  # of a cell; a smaller image is magnified to 256 at most
_MAGNIFIED = 256
_MOST_PIXELS = 24_000_000  # of all cells together
_WIDEST_LABEL = 170
_NARROWEST = 560

Run = tuple[str, int | None]
"""A piece of the title, and the index of the axis that it is; None for plain text."""


@dataclass(frozen=True)
class Caption:
    """What stands under a cell: text at its left, and a number at its right."""

    text: str
    number: str


@dataclass(frozen=True)
class Page:
    """Everything on a grid but the pictures.

    title: the prompt, in runs. facts: what holds for all cells, in one line. scale: (least, most, name of the colormap)
        of the maps laid over the pictures, if any.
    """

    title: Sequence[Run]
    facts: Sequence[str]
    panels: Sequence[Panel]
    captions: Sequence[Caption | None] = ()
    scale: tuple[float, float, str] | None = None


def draw_grid(page: Page, pictures: Sequence[Image.Image]) -> Image.Image:
    """The page with `pictures`, all of one size, in its cells, as an RGB picture."""
    return _Sheet(page, pictures).drawn()


@dataclass
class _Sheet:
    page: Page
    pictures: Sequence[Image.Image]
    y: int = field(default=0, init=False)

    @cached_property
    def cell(self) -> tuple[int, int]:
        """(width, height) of a picture as shown."""
        native = max(self.pictures[0].size)
        across = max(len(panel.columns) for panel in self.page.panels)
        room = min(_MOST_WIDE / across, math.sqrt(_MOST_PIXELS / len(self.pictures)))
        side = int(min(_SIDE[1], max(_SIDE[0], room)))
        if native < side:
            side = max(1, min(side, _MAGNIFIED) // native) * native  # whole pixels
        return magnify(self.pictures[0], side).size

    @cached_property
    def left(self) -> int:
        """Where the cells begin: right of the widest label of a row."""
        labels = [_shown(row) for panel in self.page.panels for row in panel.rows]
        wide = max((font(_LABEL).getlength(text) for text in labels), default=0)
        return MARGIN + (min(_WIDEST_LABEL, math.ceil(wide)) + _PAD if wide else 0)

    @cached_property
    def width(self) -> int:
        across = max(len(panel.columns) for panel in self.page.panels)
        return max(_NARROWEST, self.left + across * (self.cell[0] + _GAP) - _GAP + MARGIN)

    def drawn(self) -> Image.Image:
        title = _flowed(self.page.title, self.width - 2 * MARGIN)
        sheet = Image.new("RGB", (self.width, self._height(len(title))), GROUND)
        draw = ImageDraw.Draw(sheet)
        self.y = MARGIN - 6
        for line in title:
            x = float(MARGIN)
            for text, axis in line:
                draw.text((x, self.y), text, font=font(_TITLE), fill=INK if axis is None else AXIS_COLORS[axis])
                x += font(_TITLE).getlength(text)
            self.y += _line(_TITLE)
        facts = fit(legible(" · ".join(self.page.facts)), _FACTS, self.width - 2 * MARGIN)
        draw.text((MARGIN, self.y + 2), facts, font=font(_FACTS), fill=FAINT)
        self.y += _line(_FACTS) + _PAD
        for panel in self.page.panels:
            self._panel(sheet, draw, panel)
        if self.page.scale:
            self._legend(sheet, draw)
        return sheet

    def _height(self, lines: int) -> int:
        height = MARGIN - 6 + lines * _line(_TITLE) + _line(_FACTS) + _PAD + MARGIN - _PAD
        for panel in self.page.panels:
            height += self._header(panel) + len(panel.rows) * (self._row + _GAP) - _GAP + 2 * _PAD
        return height + (2 * _line(_SMALL) + _PAD if self.page.scale else 0)

    def _header(self, panel: Panel) -> int:
        return (_line(_LABEL) if panel.title else 0) + self._lines_above(panel) * _line(_LABEL) + 4

    def _lines_above(self, panel: Panel) -> int:
        return max(len(self._broken(label, self.cell[0], 2)) for label in panel.columns)

    @property
    def _row(self) -> int:
        return self.cell[1] + (_line(_SMALL) + 6 if self.page.captions else 0)

    def _broken(self, label: Label, width: float, lines: int) -> list[str]:
        return wrap(_shown(label), _LABEL, width, lines) or [""]

    def _panel(self, sheet: Image.Image, draw: Draw, panel: Panel) -> None:
        if panel.title:
            draw.text((MARGIN, self.y), panel.title, font=font(_LABEL), fill=FAINT)
            self.y += _line(_LABEL)
        above = self._lines_above(panel)
        for column, label in enumerate(panel.columns):
            lines = self._broken(label, self.cell[0], 2)
            middle = self.left + column * (self.cell[0] + _GAP) + self.cell[0] / 2
            for number, text in enumerate(lines):
                y = self.y + (above - len(lines) + number) * _line(_LABEL)
                draw.text((middle, y), text, font=font(_LABEL), fill=_color(label), anchor="ma")
        self.y += above * _line(_LABEL) + 4
        for label, cells in zip(panel.rows, panel.cells, strict=True):
            self._row_label(draw, label)
            for column, index in enumerate(cells):
                self._cell(sheet, draw, index, self.left + column * (self.cell[0] + _GAP))
            self.y += self._row + _GAP
        self.y += 2 * _PAD - _GAP

    def _row_label(self, draw: Draw, label: Label) -> None:
        room = self.left - MARGIN - _PAD
        lines = self._broken(label, room, 3) if room > 0 else []
        y = self.y + (self.cell[1] - len(lines) * _line(_LABEL)) / 2
        for number, text in enumerate(lines):
            place = self.left - _PAD, y + number * _line(_LABEL)
            draw.text(place, text, font=font(_LABEL), fill=_color(label), anchor="ra")

    def _cell(self, sheet: Image.Image, draw: Draw, index: int, x: int) -> None:
        picture = self.pictures[index]
        scale = Image.Resampling.NEAREST if self.cell[0] >= picture.width else Image.Resampling.LANCZOS
        sheet.paste(picture.resize(self.cell, scale), (x, self.y))
        caption = self.page.captions[index] if self.page.captions else None
        if caption is None:
            return
        y, right = self.y + self.cell[1] + 4, x + self.cell[0]
        draw.text((right, y), caption.number, font=font(_SMALL), fill=INK, anchor="ra")
        room = self.cell[0] - font(_SMALL).getlength(caption.number) - 8
        draw.text((x, y), fit(legible(caption.text), _SMALL, room), font=font(_SMALL), fill=FAINT)

    def _legend(self, sheet: Image.Image, draw: Draw) -> None:
        assert self.page.scale is not None
        low, top, name = self.page.scale
        x, face = float(MARGIN), font(_SMALL)
        for piece in (f"{100 * low:.3g} %", None, f"{100 * top:.3g} % of each pixel's attention"):
            if piece is None:
                sheet.paste(Image.fromarray(colormap(name)[None]).resize((160, 12)), (round(x), self.y + 3))
                x += 160 + 8
            else:
                draw.text((x, self.y), piece, font=face, fill=FAINT)
                x += face.getlength(piece) + 8
        self.y += _line(_SMALL)
        draw.text((MARGIN, self.y), "Under a picture: of the attention of all its pixels", font=face, fill=FAINT)


def _line(size: int) -> int:
    return round(size * _LINE)


def _shown(label: Label) -> str:
    """The label's text; one that the font cannot show is told by its number."""
    if label.axis is None:
        return label.text
    return drawable(label.text, f"value {label.number}") if label.text.strip() else NOTHING


def _color(label: Label) -> tuple[int, int, int]:
    return FAINT if label.axis is None else AXIS_COLORS[label.axis]


def _flowed(runs: Sequence[Run], width: float) -> list[list[Run]]:
    """The runs broken at spaces into at most three lines of that width, which keep their colours."""
    face = font(_TITLE)
    lines: list[list[Run]] = [[]]
    used = 0.0
    for text, axis in _words(runs):
        wide = face.getlength(text)
        if used and used + wide > width:
            if len(lines) == 3:
                lines[-1].append(("…", None))
                break
            lines.append([])
            used, text = 0.0, text.lstrip()
            wide = face.getlength(text)
        shown = fit(text, _TITLE, width - used) if wide > width else text
        lines[-1].append((shown, axis))
        used += wide
    return lines


def _words(runs: Sequence[Run]) -> list[Run]:
    """The runs cut before every space, so that a line may be broken there."""
    pieces: list[Run] = []
    for text, axis in runs:
        plain = _spaced(text)
        start = 0
        for place, character in enumerate(plain):
            if character == " " and place > start:
                pieces.append((plain[start:place], axis))
                start = place
        pieces.append((plain[start:], axis))
    return [(text, axis) for text, axis in pieces if text]


def _spaced(text: str) -> str:
    """`text` as the font can show it, with a space left at either end where it had one."""
    inner = legible(text)
    if not inner:
        return " " if text else ""
    return (" " if text[0].isspace() else "") + inner + (" " if text[-1].isspace() else "")
