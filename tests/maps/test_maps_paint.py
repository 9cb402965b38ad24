"""The scale of a picture: a floor is taken away, noise on a flat map is not blown up."""

import numpy as np
import pytest

from promptattn.maps import own_scale
from promptattn.maps.paint import blend, gray16, level_of


def test_a_floor_is_taken_away():
    mass = np.array([[0.10, 0.12], [0.30, 0.20]], np.float32)
    assert own_scale(mass) == pytest.approx((0.10, 0.30))
    np.testing.assert_allclose(level_of(mass, *own_scale(mass)), [[0, 0.1], [1, 0.5]], atol=1e-6)


def test_a_flat_map_looks_flat():
    noise = 0.3 + 0.001 * np.random.default_rng(0).random((8, 8), dtype=np.float32)
    low, top = own_scale(noise)
    assert low == pytest.approx(0.75 * top)
    assert level_of(noise, low, top).min() > 0.98
    constant = np.full((4, 4), 0.2, np.float32)
    np.testing.assert_allclose(level_of(constant, *own_scale(constant)), 1, atol=1e-6)


def test_nothing_stays_nothing():
    empty = np.zeros((4, 4), np.float32)
    assert own_scale(empty) == (0, 0)
    assert not level_of(empty, *own_scale(empty)).any()
    assert not np.asarray(gray16(empty)).any()


def test_gray_is_not_stretched():
    gray = np.asarray(gray16(np.array([[0.1, 0.2]], np.float32)))
    assert gray.tolist() == [[32768, 65535]]


def test_places_without_mass_show_the_image():
    from PIL import Image

    base = Image.new("RGB", (2, 1), (10, 200, 30))
    mixed = np.asarray(blend(base, np.array([[0.0, 1.0]]), alpha=1.0, colormap="gray"))
    assert mixed.tolist() == [[[10, 200, 30], [255, 255, 255]]]
