"""Maps as a matplotlib figure, for papers and notebooks. matplotlib is loaded when a figure is asked for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import bidirectional

import numpy as np
from PIL import Image

from promptattn.errors import CaptureError, ConfigError, ExportError
from promptattn.export.viewer import pictures_of
from promptattn.maps import HeatMap, HeatMaps
from promptattn.maps.colormap import colormap as table_of
from promptattn.maps.paint import blend, level_of, own_scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot"]

LONGEST = 16  # letters of a panel's title


def plot(
    maps: HeatMaps,
    words: Sequence[Any] | str | None = None,
    *,
    image: Any = None,
    columns: int = 4,
    alpha: float = 0.9,
    colormap: str = "ember",
    common: bool = False,
) -> "Figure":
    """The maps of words side by side, each with its share and a colour bar in % of a place's attention.

    Args:
        maps: of one image; choose with `maps.image(i)`.
        words: as in `maps[...]`, or one word; None is every word that has a map.
        image: lay the maps over this picture (or a list of this one); without it the colours stand alone.
        columns: panels in a row.
        alpha, colormap: as for `HeatMap.overlay`.
        common: one scale for all words, from 0, instead of each map's own.

    Returns:
        a `matplotlib.figure.Figure`: show it by leaving it last in a notebook's cell, keep it with `savefig`.

    Raises:
        ExportError: where matplotlib is not installed, or for a list of other than one picture.
        CaptureError: for words without maps, and for maps of several images.
        ConfigError: for `columns` below 1.
    """
    if columns < 1:
        raise ConfigError(f"columns={columns} must be at least 1.")
    plt = _pyplot()
    if isinstance(words, str):
        words = [words]
    if words is None:
        words = [word for word in maps.words if not word.is_punctuation and maps.state(word) == "recorded"]
    heats = [maps[word] for word in words]
    (picture,) = pictures_of(maps, image)
    if not heats:
        raise CaptureError("There is no word to plot: none of the prompt's words has a map.")
    columns = min(columns, len(heats))
    rows = -(-len(heats) // columns)
    height, width = maps.image_size
    figure: Figure = plt.figure(figsize=(2.6 * columns, rows * (2.5 * height / width + 0.5)), layout="constrained")
    plt.close(figure)  # pyplot would show it a second time at the end of a notebook's cell
    top = max(float(heat.array.max()) for heat in heats) if common else None
    for place, heat in enumerate(heats):
        ends = (0.0, top) if top is not None else own_scale(heat.array)
        _panel(figure, figure.add_subplot(rows, columns, place + 1), heat, picture, ends, alpha, colormap)
    return figure


def _panel(
    figure: "Figure",
    axes: Any,
    heat: HeatMap,
    picture: Image.Image | None,
    ends: tuple[float, float],
    alpha: float,
    colormap: str,
) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    colors = ListedColormap(table_of(colormap) / 255)
    scale = Normalize(100 * ends[0], 100 * ends[1])
    if picture is None:
        axes.imshow(100 * heat.array, cmap=colors, norm=scale)
    else:
        base = picture.resize((heat.size[1], heat.size[0]))
        axes.imshow(np.asarray(blend(base, level_of(heat.array, *ends), alpha=alpha, colormap=colormap)))
    weight = "" if heat.weight in (None, 1) else f" ×{heat.weight:.4g}"
    axes.set_title(f"{_label(heat)}{weight} · {100 * heat.share:.1f} %", fontsize=10, parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])
    bar = figure.colorbar(ScalarMappable(scale, colors), ax=axes, fraction=0.046, pad=0.02, format="%g %%")
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)


def _label(heat: HeatMap) -> str:
    """The words, in as many letters as are as wide as a panel; those from right to left stay so among the numbers."""
    label = heat.label if len(heat.label) <= LONGEST else f"{heat.label[: LONGEST - 1]}…"
    return f"\u200e{label}\u200e" if any(bidirectional(letter) in ("R", "AL") for letter in label) else label


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ExportError("Figures need matplotlib, which is not installed: pip install 'promptattn[plot]'.") from error
    return plt
