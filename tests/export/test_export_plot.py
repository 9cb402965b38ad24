"""Maps as a matplotlib figure, and what is said without matplotlib."""

import sys
import warnings
from itertools import pairwise

import numpy as np
import pytest
from synthetic import demo, picture

from promptattn.errors import CaptureError, ConfigError, ExportError


def drawn(figure):
    """The panels: axes that hold a picture and are no colour bar."""
    return [axes for axes in figure.axes if axes.images]


def test_every_word_has_a_panel_with_its_map(maps):
    pytest.importorskip("matplotlib")
    panels = drawn(maps.plot())
    words = list(maps.words)
    assert len(panels) == len(words)
    for axes, word in zip(panels, words, strict=True):
        heat = maps[word]
        np.testing.assert_allclose(axes.images[0].get_array(), 100 * heat.array)
        weight = "" if heat.weight == 1 else f" ×{heat.weight:.4g}"
        assert axes.get_title() == f"{word.text}{weight} · {100 * heat.share:.1f} %"


def test_words_columns_picture_and_scale_are_chosen(maps, tmp_path):
    pytest.importorskip("matplotlib")
    figure = maps.plot(["gato", ("un", 1), "gato rojo"], image=picture(), columns=2, common=True)
    panels = drawn(figure)
    assert [axes.get_title().split(" · ")[0] for axes in panels] == ["gato", "un", "gato rojo"]
    assert panels[0].images[0].get_array().shape == (64, 64, 3)
    bars = [axes for axes in figure.axes if axes not in panels]
    assert {axes.get_ylim() for axes in bars} == {(0.0, 100 * float(maps["gato rojo"].array.max()))}
    figure.savefig(tmp_path / "maps.png")
    assert (tmp_path / "maps.png").stat().st_size > 1000


def test_a_figure_leaves_pyplot_as_it_was(maps):
    plt = pytest.importorskip("matplotlib.pyplot")
    before = plt.get_fignums()
    maps.plot(["gato"])
    assert plt.get_fignums() == before


def test_dollars_in_a_prompt_are_no_formula(tmp_path):
    pytest.importorskip("matplotlib")
    maps = demo(text="a $x cat")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps.plot().savefig(tmp_path / "maps.png")


def test_without_matplotlib_the_extra_is_named(maps, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ExportError, match=r"pip install 'promptattn\[plot\]'"):
        maps.plot()


def test_nothing_to_plot_is_said():
    pytest.importorskip("matplotlib")
    with pytest.raises(CaptureError, match="no word to plot"):
        demo(text="").plot()


def test_one_word_and_the_list_that_generate_returns_will_do(maps):
    pytest.importorskip("matplotlib")
    (panel,) = drawn(maps.plot("gato", image=[picture()]))
    assert panel.get_title().startswith("gato · ")
    assert panel.images[0].get_array().shape == (64, 64, 3)
    with pytest.raises(ExportError, match="1 images, but 2 were given"):
        maps.plot("gato", image=[picture()] * 2)
    with pytest.raises(ConfigError, match="columns=0"):
        maps.plot(columns=0)
    with pytest.raises(CaptureError, match="choose one first"):
        demo(images=2).plot()


def test_titles_stay_apart_and_in_order(tmp_path):
    pytest.importorskip("matplotlib")
    long = "Donaudampfschifffahrtsgesellschaftskapitän"
    figure = demo(text=f"{long} {long} a قطة").plot()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a font that lacks a letter warns
        figure.savefig(tmp_path / "maps.png")
    boxes = [axes.title.get_window_extent() for axes in drawn(figure)]
    assert boxes[0].x0 >= 0
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert drawn(figure)[3].get_title().startswith("\u200eقطة\u200e · ")
