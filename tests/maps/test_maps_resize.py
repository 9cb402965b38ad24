"""Resizing keeps probabilities: convex weights, exact constants, no assumption of a square."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptattn.errors import CaptureError
from promptattn.maps import combine, resize

sides = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(sides, sides, sides, sides)
def test_every_place_is_a_convex_combination(height, width, to_height, to_width):
    units = np.eye(height * width, dtype=np.float32).reshape(-1, height, width)[:50]
    weights = resize(units, (to_height, to_width))
    assert weights.min() >= 0
    assert weights.sum(axis=0).max() <= 1 + 1e-5
    if height * width <= 50:
        np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(sides, sides, sides, sides, st.floats(0, 1, width=32))
def test_a_constant_stays_exactly_constant(height, width, to_height, to_width, value):
    resized = resize(np.full((height, width), value, np.float32), (to_height, to_width))
    assert resized.shape == (to_height, to_width)
    assert resized.dtype == np.float32
    assert (resized == np.float32(value)).all()


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (7, 31), (3, 2), (1, 1), (16, 5)])
def test_columns_that_sum_to_one_still_do(size):
    columns = np.random.default_rng(0).dirichlet(np.ones(9), size=(12, 8)).astype(np.float32)
    resized = np.stack([resize(columns[..., i], size) for i in range(9)])
    np.testing.assert_allclose(resized.sum(axis=0), 1, atol=2e-6)


def test_bilinear_equals_torch():
    torch = pytest.importorskip("torch")
    array = np.random.default_rng(1).random((12, 20), dtype=np.float32)
    for size in [(48, 80), (50, 33), (12, 20), (13, 21)]:
        if size < array.shape:
            continue
        oracle = torch.nn.functional.interpolate(
            torch.from_numpy(array)[None, None].double(), size=size, mode="bilinear", align_corners=False
        )
        np.testing.assert_allclose(resize(array, size), oracle[0, 0].numpy(), atol=1e-6)


def test_shrinking_averages_areas():
    array = np.random.default_rng(2).random((12, 20), dtype=np.float32)
    np.testing.assert_allclose(resize(array, (4, 5)), array.reshape(4, 3, 5, 4).mean(axis=(1, 3)), atol=1e-6)
    for size in [(5, 7), (11, 3), (1, 1)]:
        assert resize(array, size).mean() == pytest.approx(array.mean(), abs=1e-6)


def test_whole_multiples_keep_the_mean():
    array = np.random.default_rng(3).random((6, 10), dtype=np.float32)
    assert resize(array, (24, 50)).mean() == pytest.approx(array.mean(), abs=1e-6)


def test_rows_and_columns_are_not_swapped():
    array = np.zeros((4, 8), np.float32)
    array[0, 7] = 1
    resized = resize(array, (16, 64))
    assert np.unravel_index(resized.argmax(), resized.shape) == (0, 60)
    assert resized[:, :52].sum() == 0
    assert resized[8:].sum() == 0


GRIDS = [(8, 12), (8, 12), (4, 6), (12, 8)]


def test_combining_is_the_mean_of_resized_layers():
    random = np.random.default_rng(4)
    layers = {name: random.random(grid, dtype=np.float32) for name, grid in zip("abcd", GRIDS, strict=True)}
    resized = {name: resize(layer, (32, 48)) for name, layer in layers.items()}
    np.testing.assert_allclose(combine(layers, (32, 48)), np.mean(list(resized.values()), axis=0), atol=1e-6)
    shares = {"a": 0.5, "b": 0.0, "c": 0.2, "d": 0.3}
    expected = sum(share * resized[name] for name, share in shares.items())
    np.testing.assert_allclose(combine(layers, (32, 48), shares), expected, atol=1e-6)


def test_nothing_to_combine_is_told():
    with pytest.raises(CaptureError, match="No layer was recorded"):
        combine({}, (8, 8))
