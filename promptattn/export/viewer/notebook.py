"""A page inside a notebook: in a frame of its own, so that its style and the notebook's leave each other alone."""

from collections.abc import Sequence
from html import escape

from PIL import Image

from promptattn.export.viewer.page import Opened, render_page
from promptattn.export.viewer.pictures import data_uri
from promptattn.export.viewer.shown import Shown

__all__ = ["in_notebook", "pictures_in_notebook"]

MOST_BYTES = 600_000
"""What single steps, layers and heads may fill a page up to: the notebook's file keeps the output of every cell."""

HEIGHT = 760


def in_notebook(shown: Sequence[Shown], *, opened: Opened = "look") -> str:
    """The page of these images as an HTML element for another page. Its scripts see nothing of what is around it."""
    page = render_page(shown, opened=opened, most=MOST_BYTES)
    # A lone surrogate has no UTF-8, in which notebooks are sent and saved.
    text = escape(page.encode("utf-8", "replace").decode("utf-8"))
    return (
        f'<iframe srcdoc="{text}" sandbox="allow-scripts" title="promptattn viewer" '
        f'style="width: 100%; height: {HEIGHT}px; border: 0; border-radius: 12px"></iframe>'
    )


def pictures_in_notebook(images: Sequence[Image.Image]) -> str:
    """Images side by side, for results without maps."""
    return "".join(f'<img src="{data_uri(image)}" alt="image {index}"> ' for index, image in enumerate(images))
