"""Map metrics against values worked out by hand and against slow, plain definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from promptattn.maps.metrics import average_precision, best_iou, iou, iou_curve, leakage, outside, pointing_hit

HEAT = np.array([[0.9, 0.8, 0.1], [0.5, 0.3, 0.0]])
MASK = np.array([[True, False, False], [True, True, False]])


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.3, 3 / 4),  # marks .9 .8 .5 .3: all three of the mask and one more
        (0.4, 2 / 4),  # marks .9 .8 .5
        (0.6, 1 / 4),  # marks .9 .8
        (1.0, 1 / 3),  # marks .9
    ],
)
def test_iou_by_hand(threshold: float, expected: float) -> None:
    assert iou(HEAT, MASK, threshold) == pytest.approx(expected)


def test_iou_of_a_map_without_mass_is_zero() -> None:
    assert iou(np.zeros((2, 3)), MASK) == 0.0


def test_best_iou_by_hand() -> None:
    assert best_iou(HEAT, MASK) == pytest.approx(3 / 4)


def test_average_precision_by_hand() -> None:
    # Ranked: hit, miss, hit, hit -> precision 1/1, 2/3, 3/4 at the three gains of recall of 1/3 each.
    assert average_precision(HEAT, MASK) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_average_precision_of_a_constant_map_is_the_share_of_the_mask() -> None:
    assert average_precision(np.ones((2, 3)), MASK) == pytest.approx(0.5)


def test_pointing_by_hand() -> None:
    assert pointing_hit(HEAT, MASK) == 1.0
    assert pointing_hit(HEAT, ~MASK) == 0.0
    assert pointing_hit(np.ones((2, 3)), MASK) == pytest.approx(0.5)


def test_leakage_by_hand() -> None:
    other = np.array([[False, True, False], [False, False, True]])
    assert leakage(HEAT, MASK, other) == pytest.approx(0.8 / (1.7 + 0.8))
    assert math.isnan(leakage(np.zeros((2, 3)), MASK, other))


def test_iou_at_levels_by_hand() -> None:
    # From 0 to .9: limits 0, .27, .72 and .9 mark 6, 4, 2 and 1 pixels, 3, 3, 1 and 1 of them in the mask.
    np.testing.assert_allclose(iou_curve(HEAT, MASK, np.array([0, 0.3, 0.8, 1])), [3 / 6, 3 / 4, 1 / 4, 1 / 3])
    np.testing.assert_allclose(iou_curve(np.ones((2, 3)), MASK, np.array([0.1, 0.9])), 1 / 2)


def test_outside_by_hand() -> None:
    assert outside(HEAT, MASK, margin=0) == pytest.approx(0.9 / 2.6)
    corner = np.zeros((3, 3), bool)
    corner[0, 0] = True
    assert outside(np.ones((3, 3)), corner) == pytest.approx(6 / 9)
    assert outside(np.ones((3, 3)), corner, margin=2) == pytest.approx(3 / 9)
    assert math.isnan(outside(np.zeros((2, 3)), MASK))


maps = arrays(np.float64, (4, 5), elements=st.integers(0, 6).map(lambda value: value / 4))
masks = arrays(np.bool_, (4, 5)).filter(lambda mask: mask.any())


@given(maps, masks)
def test_ranking_metrics_equal_their_plain_definitions(heat: np.ndarray, mask: np.ndarray) -> None:
    best, area, recall_before = 0.0, 0.0, 0.0
    for level in sorted({float(value) for value in heat.ravel()}, reverse=True):
        marked = heat >= level
        hits = int((marked & mask).sum())
        best = max(best, hits / int((marked | mask).sum()))
        recall = hits / int(mask.sum())
        area += (recall - recall_before) * hits / int(marked.sum())
        recall_before = recall
    assert best_iou(heat, mask) == pytest.approx(best)
    assert average_precision(heat, mask) == pytest.approx(area)


@given(maps, masks, st.floats(0.01, 1.0))
def test_scores_do_not_depend_on_the_scale_of_the_map(heat: np.ndarray, mask: np.ndarray, threshold: float) -> None:
    for scale in (0.5, 4.0):
        assert iou(heat * scale, mask, threshold) == iou(heat, mask, threshold)
        assert average_precision(heat * scale, mask) == average_precision(heat, mask)


levels = st.lists(st.floats(0, 1), min_size=1, max_size=5).map(np.array)


@given(maps, masks, levels)
def test_iou_at_levels_equals_its_plain_definition(heat: np.ndarray, mask: np.ndarray, levels: np.ndarray) -> None:
    for level, value in zip(levels, iou_curve(heat, mask, levels), strict=True):
        marked = heat >= heat.min() + level * (heat.max() - heat.min())
        assert value == pytest.approx((marked & mask).sum() / (marked | mask).sum())
    assert iou_curve(heat, mask, levels).max() <= best_iou(heat, mask) + 1e-12


@given(maps, masks)
def test_outside_is_a_share_that_a_margin_can_only_lessen(heat: np.ndarray, mask: np.ndarray) -> None:
    if heat.sum() > 0:
        shares = [outside(heat, mask, margin) for margin in range(4)]
        assert all(0 <= share <= 1 for share in shares)
        assert shares == sorted(shares, reverse=True)


@given(maps, masks)
def test_no_threshold_beats_the_best(heat: np.ndarray, mask: np.ndarray) -> None:
    assert all(iou(heat, mask, threshold) <= best_iou(heat, mask) + 1e-12 for threshold in (0.2, 0.4, 0.7, 1.0))


@pytest.mark.parametrize("score", [iou, best_iou, average_precision, pointing_hit])
def test_what_cannot_be_compared_is_refused(score) -> None:
    with pytest.raises(ValueError, match=r"map \[2, 3\] and mask \[3, 2\].*resize the map"):
        score(HEAT, MASK.T)
    with pytest.raises(ValueError, match="marks no pixel"):
        score(HEAT, np.zeros((2, 3), bool))
    with pytest.raises(ValueError, match="bool, not float64"):
        score(HEAT, MASK.astype(float))
    with pytest.raises(ValueError, match="not finite"):
        score(np.full((2, 3), np.nan), MASK)


def test_a_threshold_is_a_fraction() -> None:
    with pytest.raises(ValueError, match="fraction of the map's maximum"):
        iou(HEAT, MASK, 40)
