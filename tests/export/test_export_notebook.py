"""What notebooks are given: a page in a frame of its own, bounded in size."""

import html
import re

import numpy as np
from PIL import Image
from synthetic import demo, picture

from promptattn.run import Generation


def page_in(framed):
    (source,) = re.findall(r'^<iframe srcdoc="([^"]*)" sandbox="allow-scripts" title="promptattn viewer"', framed)
    return html.unescape(source)


def test_maps_display_themselves():
    page = page_in(demo(text='a "red" cat & <b>', steps=2)._repr_html_())
    assert page.startswith("<!doctype html>")
    assert "data:image" not in page
    assert '"step": 1' in page or '"step":1' in page


def test_a_generation_displays_its_pictures_too():
    made = Generation([picture(), picture()], demo(images=2), 7, {})
    assert page_in(made._repr_html_()).count("data:image/png") == 4  # both, and their thumbnails
    alone = Generation([picture()], None, 7, {})
    assert alone._repr_html_().startswith('<img src="data:image/png;base64,')


def test_a_cell_stays_small_however_much_was_recorded():
    maps = demo(size=(256, 256), text=" ".join(f"w{i}" for i in range(20)), steps=20, heads=8)
    assert len(maps._repr_html_()) < 1_200_000


def test_a_large_picture_travels_as_webp():
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    made = Generation([Image.fromarray(noise)], demo(size=(512, 512), text="a cat"), 7, {})
    assert "data:image/webp" in page_in(made._repr_html_())
