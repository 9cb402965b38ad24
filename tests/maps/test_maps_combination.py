"""Shares of layers: they follow from the maps alone, sum to 1, and prefer shape to noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from synthetic import blob

from promptattn.errors import CaptureError, ConfigError
from promptattn.maps import RULES, layer_shares
from promptattn.maps.combination import coherence

CHEQUERS = np.indices((4, 6)).sum(axis=0)[..., None] % 2 * 0.5
STEPS = np.array([[0.0, 0.0, 1.0, 1.0]])[..., None]


def noisy(grid, noise, seed=0):
    """Two words' blobs and noise that each place has for itself, with variances of 1 and `noise`."""
    signal = np.stack([blob(grid, (0.3, 0.4)), blob(grid, (0.7, 0.6))], axis=-1)
    random = np.random.default_rng(seed).normal(size=signal.shape)
    return 0.05 * (signal / signal.std() + np.sqrt(noise) * random) + 0.4


def test_coherence_by_hand():
    assert coherence(CHEQUERS) == pytest.approx(-1)
    # Above the mean of 1/2 by -1/2 -1/2 1/2 1/2: products of the three pairs 1/4 -1/4 1/4, over a variance of 1/4.
    assert coherence(STEPS) == pytest.approx(1 / 3)
    assert coherence(np.transpose(STEPS, (1, 0, 2))) == pytest.approx(1 / 3)
    assert coherence(np.full((3, 4, 2), 0.2)) == 0
    assert coherence(np.ones((1, 1, 5))) == 0


def test_coherence_of_masses_whose_squares_underflow():
    assert coherence(1e-200 * STEPS) == pytest.approx(1 / 3)


def test_coherence_of_noise_is_none_and_of_a_slope_is_high():
    assert abs(coherence(np.random.default_rng(0).random((32, 32, 4)))) < 0.1
    assert coherence(np.linspace(0, 1, 32)[:, None, None] * np.ones((32, 24, 2))) > 0.9


def test_a_column_counts_by_its_variance():
    still = np.full_like(CHEQUERS, 0.3)
    assert coherence(np.concatenate([CHEQUERS, still], axis=-1)) == pytest.approx(-1)
    loud = np.linspace(0, 1, 6)[None, :, None] * np.ones((4, 6, 1))
    both = coherence(np.concatenate([0.01 * CHEQUERS, loud], axis=-1))
    assert both == pytest.approx(coherence(loud), abs=1e-3)


def test_shares_follow_the_ratio_of_signal_to_noise():
    grid = (48, 48)
    shares = layer_shares("coherence", {"clean": noisy(grid, 0.25), "noisy": noisy(grid, 1.0, seed=1)})
    assert shares["clean"] / shares["noisy"] == pytest.approx(4, rel=0.2)


def test_finest_is_most_places_and_mean_is_all():
    masses = {"wide": np.zeros((4, 16, 2)), "square": np.zeros((8, 8, 2)), "small": np.zeros((4, 4, 2))}
    assert layer_shares("finest", masses) == {"wide": 0.5, "square": 0.5, "small": 0}
    assert set(layer_shares("mean", masses).values()) == {1 / 3}
    # None of them has any shape.
    assert layer_shares("coherence", masses) == layer_shares("mean", masses)


layers = st.lists(arrays(np.float32, (3, 4, 2), elements=st.floats(0, 1, width=32)), min_size=1, max_size=4)


@given(layers, st.sampled_from(RULES))
def test_shares_are_shares(masses, rule):
    named = {str(index): mass for index, mass in enumerate(masses)}
    shares = layer_shares(rule, named)
    assert list(shares) == list(named)
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) >= 0


@given(
    arrays(np.float64, (4, 5, 3), elements=st.floats(0, 1, allow_subnormal=False)),
    st.sampled_from([0.125, 2.0]),
    st.sampled_from([0, 0.5]),
)
def test_coherence_knows_no_scale_floor_or_side(mass, scale, floor):
    value = coherence(mass)
    assert -1 <= value <= 1
    np.testing.assert_allclose(coherence(scale * mass), value, atol=1e-9)
    np.testing.assert_allclose(coherence(mass[::-1, ::-1, ::-1]), value, atol=1e-9)
    np.testing.assert_allclose(coherence(np.swapaxes(mass, 0, 1)), value, atol=1e-9)
    if (mass.std(axis=(0, 1)) > 1e-3).any():
        np.testing.assert_allclose(coherence(mass + floor), value, atol=1e-6)


def test_what_is_not_a_rule_is_refused():
    with pytest.raises(ConfigError, match=r"no rule 'best' .* choose one of coherence, finest, mean"):
        layer_shares("best", {"layer": CHEQUERS})
    with pytest.raises(CaptureError, match="No layer was recorded"):
        layer_shares("mean", {})
