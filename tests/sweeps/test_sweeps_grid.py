"""The drawn grid: every picture where its labels say, and labels that can be read."""

import numpy as np
import pytest
from PIL import Image

from promptattn.sweeps.grid import AXIS_COLORS, Caption, Page, draw_grid
from promptattn.sweeps.layout import panels


def flat(index, size=(8, 8)):
    """A picture of one colour that occurs nowhere else on the page."""
    return Image.new("RGB", size, color(index))


def color(index):
    return (200, 3 * index + 1, 255 - 3 * index)


def places(sheet, wanted):
    """The box (left, top, right, bottom) of everything in a colour, or None."""
    rows, columns = np.nonzero((np.asarray(sheet) == wanted).all(-1))
    return None if not len(rows) else (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def drawn(axes, seeds=(7,), size=(8, 8), **options):
    blocks = panels(axes, seeds)
    count = len(seeds) * int(np.prod([len(axis) for axis in axes]))
    page = Page([("a {1,2}", 0)], ["shapes"], blocks, **options)
    return draw_grid(page, [flat(index, size) for index in range(count)])


def test_pictures_stand_in_rows_and_columns_whole():
    sheet = drawn([["0.5", "1", "2"], ["red", "blue"]])
    boxes = [places(sheet, color(index)) for index in range(6)]
    assert all(box[2] - box[0] == box[3] - box[1] for box in boxes)
    assert boxes[0][2] - boxes[0][0] == 256  # whole pixels: 32 each
    assert all(boxes[row * 2][1] == boxes[row * 2 + 1][1] for row in range(3))
    assert boxes[0][0] == boxes[2][0] == boxes[4][0] < boxes[1][0]
    assert boxes[0][1] < boxes[2][1] < boxes[4][1]
    assert boxes[5][2] < sheet.width
    assert boxes[5][3] < sheet.height


def test_labels_have_the_colour_of_their_axis_above_and_beside_the_pictures():
    sheet = drawn([["0.5", "1"], ["ratón", "ñandú"]])
    first = places(sheet, color(0))
    beside = places(sheet.crop((0, first[1], first[0], sheet.height)), AXIS_COLORS[0])
    above = places(sheet.crop((first[0], 60, sheet.width, first[1])), AXIS_COLORS[1])
    assert beside is not None
    assert above is not None


def test_an_accent_is_drawn():
    with_accent, without = (np.asarray(drawn([["raton".replace("o", letter), "x"]])) for letter in "óo")
    assert with_accent.shape == without.shape
    assert not np.array_equal(with_accent, without)


@pytest.mark.parametrize("value", ["", " ", "日本", "\u202e\x00", "x" * 500, "muy " * 200])
def test_any_value_makes_a_label_that_fits(value):
    sheet = drawn([[value, "1"]])
    assert places(sheet, color(1))[2] <= sheet.width - 20
    assert sheet.width < 700
    header = np.asarray(sheet)[60 : places(sheet, color(0))[1], : places(sheet, color(0))[2]]
    assert (header == AXIS_COLORS[0]).all(-1).any()


def test_large_pictures_shrink_and_keep_their_shape():
    sheet = drawn([[str(value) for value in range(8)]], size=(1024, 512))
    left, top, right, bottom = places(sheet, color(0))
    assert (right - left) == pytest.approx(2 * (bottom - top), abs=1)
    assert sheet.width < 2600


def test_captions_and_scale_make_room_for_themselves():
    plain = drawn([["1", "2"]])
    told = drawn([["1", "2"]], captions=[Caption("red", "12 %"), None], scale=(0.0, 0.5, "ember"))
    assert told.height > plain.height + 30
    assert places(told, color(1)) is not None


def test_seeds_are_rows_of_one_axis_and_blocks_of_two():
    one = drawn([["1", "2"]], seeds=(7, 8))
    assert places(one, color(0))[0] == places(one, color(2))[0]
    two = drawn([["1"], ["2"]], seeds=(7, 8))
    assert places(two, color(1))[1] - places(two, color(0))[3] > 40
