"""What the formulas promise for every number: nothing at weight 1, the other reading at 0, means that are restored."""

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from promptattn.errors import PromptAttnWarning
from promptattn.weighting.formulas import blended, from_empty, hiding, lifted, mixed, scaled
from promptattn.weighting.normalise import normalised

ROWS, CHANNELS = 4, 3
weights = st.floats(-4, 4, allow_subnormal=False)
rows = st.lists(weights, min_size=ROWS, max_size=ROWS)
seeds = st.integers(0, 2**31)


def embedding(seed, *shape, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, ROWS, CHANNELS, generator=generator, dtype=torch.float64) + offset


def quietly(function, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptAttnWarning)
        return function(*args, **options)


def close(found, expected, scale=1.0):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * max(scale, 1.0))


@given(seeds, rows)
def test_scaling_restores_the_mean_of_each_window_and_nothing_else(seed, row):
    z = embedding(seed, 2, offset=3.0)
    w = torch.tensor([row, [1.0] * ROWS], dtype=torch.float64)
    plain, restored = scaled(z, w, restore_mean=False), quietly(scaled, z, w, restore_mean=True)
    assert torch.equal(plain, z * w[..., None])
    assert torch.equal(restored[1], z[1])
    if plain[0].mean().abs() > 1e-3:
        close(restored[0].mean(), z[0].mean(), restored[0].abs().max().item())
        close(restored[0] * plain[0].mean(), plain[0] * z[0].mean(), restored[0].abs().max().item())


@pytest.mark.parametrize("zero", ["before", "after", "all"])
def test_a_mean_that_is_zero_is_not_restored_and_that_is_said(zero):
    z = torch.ones(1, ROWS, CHANNELS, dtype=torch.float64)
    w = torch.tensor([[1.0, 2.0, 1.0, 1.0]], dtype=torch.float64)
    if zero == "before":
        z[0, 1] = -3.0
    elif zero == "after":
        w = torch.tensor([[1.0, -2.0, 0.0, 1.0]], dtype=torch.float64)
    else:
        w = torch.zeros(1, ROWS, dtype=torch.float64)
    with pytest.warns(PromptAttnWarning, match="cannot be restored.*restore_mean=False"):
        found = scaled(z, w, restore_mean=True)
    assert torch.equal(found, z * w[..., None])


def test_a_mean_that_turns_everything_round_is_the_original_s_and_is_said():
    z = torch.ones(1, ROWS, CHANNELS, dtype=torch.float64)
    w = torch.tensor([[1.0, -2.0, 0.0, 0.9]], dtype=torch.float64)
    with pytest.warns(PromptAttnWarning, match=r"by -40;"):
        found = scaled(z, w, restore_mean=True)
    close(found, z * w[..., None] * -40)


@given(seeds, seeds, rows)
def test_from_empty_lies_on_the_line_through_both(seed, other, row):
    z, empty = embedding(seed, 2), embedding(other, 2)
    w = torch.tensor([row, [0.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    found = from_empty(z, empty, w)
    close(found, (1 - w[..., None]) * empty + w[..., None] * z, 100)
    assert torch.equal(found[1, 1::2], z[1, 1::2])
    assert torch.equal(found[1, ::2], empty[1, ::2])


@given(st.lists(st.floats(-4, 1), min_size=2, max_size=2))
def test_less_weight_hides_more(pair):
    low, high = sorted(pair)
    assert hiding(low) >= hiding(high) >= 0
    assert hiding(1.0) == 0
    assert math.isclose(hiding(0.5), 1.0)
    assert math.isfinite(hiding(-1e300))


@given(seeds, st.lists(st.lists(st.floats(-2, 1), min_size=2, max_size=2), min_size=1, max_size=3))
def test_a_blend_is_between_what_it_blends(seed, pairs):
    z, copies = embedding(seed, 2), embedding(seed + 1, len(pairs), 2)
    share = torch.tensor([[hiding(weight) for weight in pair] for pair in pairs], dtype=torch.float64)
    found = blended(z, copies, share)
    everything = torch.cat([z[None], copies])
    slack = 1e-9
    assert (found <= everything.amax(0) + slack).all()
    assert (found >= everything.amin(0) - slack).all()
    assert torch.equal(blended(z, copies, torch.zeros_like(share)), z)
    half = blended(z, copies[:1], torch.ones(1, 2, dtype=torch.float64))
    close(half, (z + copies[0]) / 2)


@given(seeds, st.lists(st.floats(-2, 0.999), min_size=1, max_size=4, unique=True))
def test_a_mix_is_nothing_where_masking_changes_nothing(seed, levels):
    z, levels = embedding(seed, 1), torch.tensor(sorted(levels), dtype=torch.float64)
    close(mixed(z, z[None].expand(len(levels), *z.shape), levels), z, 100)
    copies = embedding(seed + 1, len(levels), 1)
    alone = mixed(z, copies[:1], levels[:1])
    close(alone, levels[0] * z + (1 - levels[0]) * copies[0], 100)
    assert mixed(z, copies[:0], levels[:0]) is z


@given(seeds, st.floats(0, 4))
def test_only_the_rows_of_a_word_are_lifted(seed, excess):
    z, copies = embedding(seed, 1), embedding(seed + 1, 2, 1)
    e = torch.zeros(2, 1, ROWS, dtype=torch.float64)
    e[0, 0, 1] = excess
    found = lifted(z, copies, e)
    close(found[0, 1], (z - copies[0])[0, 1] * excess, 100)
    assert torch.equal(found[0, [0, 2, 3]], torch.zeros(3, CHANNELS, dtype=torch.float64))


words = st.lists(st.tuples(st.integers(1, 4), weights), min_size=1, max_size=6)


@given(words)
def test_normalised_weights(drawn):
    flat, places, place = [1.0], [], 1
    for size, weight in drawn:
        places.append(tuple(range(place, place + size)))
        flat += [weight] * size
        place += size
    flat.append(1.0)
    inside = [row for rows in places for row in rows]
    assert normalised(flat, places, "none") == flat
    for kind in ("mean", "length", "length+mean"):
        found = normalised(flat, places, kind)
        assert found[0] == found[-1] == 1.0
        assert normalised([1.0] * len(flat), places, kind) == [1.0] * len(flat)
        if kind.endswith("mean"):
            assert math.isclose(sum(found[row] for row in inside), len(inside), abs_tol=1e-9)
    length = normalised(flat, places, "length")
    for rows, (size, weight) in zip(places, drawn, strict=True):
        # The words' tokens together are as far from 1, as a vector, as one token of that weight.
        assert math.isclose(sum((length[row] - 1) ** 2 for row in rows), (weight - 1) ** 2, abs_tol=1e-12)
        assert size > 1 or length[rows[0]] == pytest.approx(weight)


def test_without_words_there_is_no_mean():
    assert normalised([1.0, 1.0], [], "length+mean") == [1.0, 1.0]
