"""The page around the views: the template filled in, and the bytes shared out among the images."""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from promptattn import __version__
from promptattn.export.viewer.packing import text_of
from promptattn.export.viewer.shown import Shown
from promptattn.export.viewer.view import View, view_of
from promptattn.maps.colormap import colormap, diverging

__all__ = ["MOST_BYTES", "Opened", "render_page", "write_page"]

Opened = Literal["look", "compare"]

MOST_BYTES = 1_900_000
"""How large a page may be made by what is optional in it: single steps, layers and heads."""

MOST_SAMPLES = 400_000  # of all maps of one image that is not among many: about a megabyte of text
MOST_SAMPLES_TOGETHER = 2_000_000

FEW = 4  # images that a page may hold as PNG, to the bit

SCRIPTS = ("dom", "unpack", "field", "paint", "choice", "scrubber", "ranking", "relations", "look", "compare", "start")
STYLES = ("ground", "stage", "words", "controls", "compare", "tables", "forced", "print")


def write_page(
    shown: Sequence[Shown],
    file: Path,
    *,
    colors: str = "ember",
    opened: Opened = "look",
    pair: tuple[int, int] | None = None,
) -> None:
    """Write the page of these images to `file`; see `render_page`."""
    # A lone surrogate has no UTF-8; a question mark stands for it.
    file.write_bytes(render_page(shown, colors=colors, opened=opened, pair=pair).encode("utf-8", "replace"))


def render_page(
    shown: Sequence[Shown],
    *,
    colors: str = "ember",
    opened: Opened = "look",
    pair: tuple[int, int] | None = None,
    most: int = MOST_BYTES,
) -> str:
    """The page of these images as HTML.

    Args:
        colors: one of `promptattn.maps.COLORMAPS`.
        opened: what shows first: one image (`look`), or two side by side (`compare`).
        pair: the two images that are compared first, by their places in `shown`; the first and the last if not given.
        most: how many bytes single steps, layers and heads may fill the page up to. Pictures and the maps over
            everything are always there, whatever their size.
    """
    samples = min(MOST_SAMPLES, MOST_SAMPLES_TOGETHER // max(1, len(shown)))
    views = [view_of(each, samples, exact=len(shown) <= FEW) for each in shown]
    start = {"opened": opened, "pair": pair or (0, len(views) - 1)}
    plain = _filled(views, [view.data for view in views], colors, start)
    room = max(0, most - len(plain.encode("utf-8", "replace"))) // max(1, len(views))
    return _filled(views, [view.with_details(room) for view in views], colors, start)


def _filled(views: Sequence[View], data: Sequence[dict[str, Any]], colors: str, start: dict[str, Any]) -> str:
    prompts = dict.fromkeys(view.prompt for view in views)
    return _template().render(
        title=(next(iter(prompts)) or "no words") if len(prompts) == 1 else f"{len(prompts)} prompts",
        version=__version__,
        views=views,
        scale=_stops(colormap(colors)),
        difference_scale=_stops(diverging()),
        styles=[f"style/{name}.css" for name in STYLES],
        script=_script(),
        script_hash=f"sha256-{text_of(sha256(_script().encode()).digest())}",
        data={
            "colors": text_of(colormap(colors).tobytes()),
            "diverging": text_of(diverging().tobytes()),
            "views": list(data),
            **start,
        },
    )


def _stops(table: Any) -> str:
    """A colour table as the stops of a CSS gradient."""
    return ", ".join(f"rgb({', '.join(map(str, table[i]))})" for i in range(0, 256, 15))


@lru_cache(maxsize=1)
def _script() -> str:
    """The page's one script. The page names its hash, so that the browser runs this and nothing else."""
    parts = [files("promptattn.export.viewer").joinpath(f"script/{name}.js").read_text("utf-8") for name in SCRIPTS]
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "})();\n"


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("promptattn.export.viewer", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = _percent
    environment.filters["number"] = lambda weight: f"{weight:.4g}".replace("-", "−")
    return environment.get_template("page.html.j2")


def _percent(mass: float) -> str:
    """As the page's script writes it: two or three digits that matter."""
    digits = 0 if mass >= 0.0995 else 1 if mass >= 0.00095 or mass == 0 else 2
    return f"{100 * mass:.{digits}f}\u00a0%"
