"""The viewer: one HTML file that needs no network and no server, with the pictures and the maps inside.

A page holds one view for each image. A view starts from the maps over all layers, steps and heads, as 16-bit integers
relative to each map's own largest mass; single steps, layers and heads follow as bytes, as fine as the page's size
allows. The page interpolates between places as :func:`promptattn.maps.resize` does, and every share that it shows was
taken from the maps before they were rounded. Text goes through Jinja's escaping, and the data through its script-safe
JSON.
"""

from promptattn.export.viewer.notebook import in_notebook, pictures_in_notebook
from promptattn.export.viewer.page import render_page, write_page
from promptattn.export.viewer.shown import Shown, pictures_of, shown_images

__all__ = ["Shown", "in_notebook", "pictures_in_notebook", "pictures_of", "render_page", "shown_images", "write_page"]
