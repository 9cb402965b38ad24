"""What a weight means: the table of the contract, and what KeyWeights refuses."""

import math

import hypothesis.strategies as st
import pytest
import torch
from core_oracle import oracle, weight_table
from hypothesis import given, settings
from test_core_attention import tensors
from torch.nn.functional import scaled_dot_product_attention

from promptattn.core import Columns, KeyWeights, attention, dead_rows, explain_kernel
from promptattn.errors import WeightingError

KEYS = [3, 40, 41, 200]
ALL = Columns(torch.arange(300), reduce="none")

# All ways to the same numbers: few and many keys, with and without causality, floor known and not.
WAYS = pytest.mark.parametrize(
    ("rows", "keys", "is_causal"),
    [(64, 77, False), (64, 300, False), (300, 300, True)],
    ids=["short", "long", "causal"],
)


def close(got, want):
    torch.testing.assert_close(got, want, rtol=0, atol=4e-6)


def without(tensor, keys):
    kept = [key for key in range(tensor.shape[2]) if key not in keys]
    return tensor[:, :, kept]


@WAYS
def test_all_one_is_the_librarys_own_call(rows, keys, is_causal):
    query, key, value = tensors(rows, keys)
    stock = scaled_dot_product_attention(query, key, value, is_causal=is_causal)
    ones = KeyWeights.of([1, 2], [1.0, 1.0])
    assert ones.neutral
    assert explain_kernel(query, key, value, is_causal=is_causal, key_weights=ones).path == "sdpa"
    assert torch.equal(attention(query, key, value, is_causal=is_causal, key_weights=ones).output, stock)
    unknown = KeyWeights(torch.tensor([1, 2]), torch.ones(2))
    close(attention(query, key, value, is_causal=is_causal, key_weights=unknown).output, stock)


def test_no_keys_is_the_librarys_own_call():
    query, key, value = tensors()
    nothing = KeyWeights(torch.empty(0, dtype=torch.int64), torch.empty(0))
    stock = scaled_dot_product_attention(query, key, value)
    assert torch.equal(attention(query, key, value, key_weights=nothing, capture=ALL).output, stock)


@pytest.mark.parametrize("keys", [77, 300])
def test_zero_deletes_the_key(keys):
    query, key, value = tensors(64, keys)
    gone = [3, 40, 41]
    result = attention(
        query, key, value, key_weights=KeyWeights.of(gone, [0.0] * 3), capture=Columns(torch.arange(keys))
    )
    close(result.output, scaled_dot_product_attention(query, without(key, gone), without(value, gone)))
    assert torch.equal(result.columns[..., gone], torch.zeros(2, 64, 3))


@WAYS
def test_zero_deletes_the_key_under_causality_too(rows, keys, is_causal):
    query, key, value = tensors(rows, keys)
    mask = torch.ones(rows, keys, dtype=torch.bool)
    mask = mask.tril() if is_causal else mask
    mask[:, 3] = False
    result = attention(query, key, value, is_causal=is_causal, key_weights=KeyWeights.of([3], [0.0]))
    close(result.output, scaled_dot_product_attention(query, key, value, attn_mask=mask))


@pytest.mark.parametrize("keys", [77, 300])
def test_two_is_writing_key_and_value_twice(keys):
    query, key, value = tensors(64, keys)
    twice = [torch.cat([t, t[:, :, [3, 40]]], 2) for t in (key, value)]
    result = attention(query, key, value, key_weights=KeyWeights.of([3, 40], [2.0, 2.0]))
    close(result.output, scaled_dot_product_attention(query, *twice))


@WAYS
@pytest.mark.parametrize("floor", [None, 0.5])
def test_odds_are_multiplied_by_the_ratio_of_weights(rows, keys, is_causal, floor):
    query, key, value = tensors(rows, keys)
    watched = Columns(torch.tensor([5, 7]), reduce="none")
    weights = KeyWeights(torch.tensor([5, 7]), torch.tensor([3.0, -0.75]), floor=floor)
    before = attention(query, key, value, is_causal=is_causal, capture=watched).columns
    after = attention(query, key, value, is_causal=is_causal, key_weights=weights, capture=watched).columns
    seen = before[..., 1] > 0
    ratio = (after[..., 0] / after[..., 1])[seen] / (before[..., 0] / before[..., 1])[seen]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 4.0), rtol=2e-5, atol=0)


@WAYS
@pytest.mark.parametrize("floor", [None, 0.5])
def test_minus_w_flips_the_values_sign_and_nothing_else(rows, keys, is_causal, floor):
    query, key, value = tensors(rows, keys)
    index, weight = torch.tensor([5, 7]), torch.tensor([1.7, 0.8])
    flipped = value.clone()
    flipped[:, :, [5, 7]] *= -1
    watched = Columns(torch.tensor([5, 7, 8]))
    options = {"is_causal": is_causal, "capture": watched}
    minus = attention(query, key, value, key_weights=KeyWeights(index, -weight, floor=floor), **options)
    plus = attention(query, key, flipped, key_weights=KeyWeights(index, weight, floor=floor), **options)
    close(minus.output, plus.output)
    torch.testing.assert_close(minus.columns, plus.columns, rtol=1e-5, atol=0)


@WAYS
def test_continuous_through_zero(rows, keys, is_causal):
    query, key, value = tensors(rows, keys)
    outputs = []
    for tiny in (-1e-7, -1e-30, 0.0, 1e-38, 1e-7):
        weights = KeyWeights(torch.tensor([5, 7]), torch.full((2,), tiny))
        outputs.append(attention(query, key, value, is_causal=is_causal, key_weights=weights).output)
    for output in outputs:
        close(output, outputs[2])


@pytest.mark.parametrize("weight", [1e9, 1e30, 1e-30, -1e9])
@pytest.mark.parametrize("floor", [None, 0.5])
def test_absurd_weights_stay_finite(weight, floor):
    if floor is not None and abs(weight) < floor:
        pytest.skip("the floor would be a lie")
    query, key, value = tensors(64, 300)
    result = attention(
        query, key, value, key_weights=KeyWeights(torch.tensor([5]), torch.tensor([weight]), floor=floor)
    )
    table = weight_table(300, torch.tensor([5]), torch.tensor([weight]), 2, 64)
    close(result.output, oracle(query, key, value, weights=table)[0].float())


@WAYS
@pytest.mark.parametrize("shape", ["J", "batch J", "batch query J", "1 query J"])
@pytest.mark.parametrize("floor", [None, 0.5])
def test_weights_per_batch_row_and_per_query_row(rows, keys, is_causal, shape, floor):
    query, key, value = tensors(rows, keys)
    index = torch.tensor([5, 7, 60])
    size = {"J": (3,), "batch J": (2, 3), "batch query J": (2, rows, 3), "1 query J": (1, rows, 3)}[shape]
    weight = torch.rand(size, generator=torch.Generator().manual_seed(2)) * 3 + 0.5
    weight = weight if floor else weight - 1
    result = attention(
        query, key, value, is_causal=is_causal, key_weights=KeyWeights(index, weight, floor=floor),
        capture=Columns(index),
    )  # fmt: skip
    output, probabilities = oracle(
        query, key, value, is_causal=is_causal, weights=weight_table(keys, index, weight, 2, rows)
    )
    close(result.output, output.float())
    torch.testing.assert_close(result.columns, probabilities[..., index].mean(1).float(), rtol=3e-5, atol=0)


@WAYS
@pytest.mark.parametrize("kind", ["slice", "open slice", "numbers", "bool"])
@pytest.mark.parametrize("floor", [None, 0.5])
@pytest.mark.parametrize("per_row", [False, True])
def test_query_rows_limit_the_weights(rows, keys, is_causal, kind, floor, per_row):
    query, key, value = tensors(rows, keys)
    chosen = torch.zeros(rows, dtype=torch.bool)
    selection = {
        "slice": slice(10, 30),
        "open slice": slice(-20, None),
        "numbers": torch.tensor([50, 2, 11]),
        "bool": torch.arange(rows) % 3 == 0,
    }[kind]
    chosen[selection] = True
    index = torch.tensor([5, 7])
    count = rows if kind == "bool" else int(chosen.sum())
    weight = torch.rand((2, count, 2) if per_row else (2, 2), generator=torch.Generator().manual_seed(2)) * 2 + 0.6
    full = torch.ones(2, rows, 2)
    if kind == "bool":
        full[:, chosen] = (weight if per_row else weight[:, None].expand(-1, rows, -1))[:, chosen]
    else:
        full[:, selection] = weight if per_row else weight[:, None].expand(-1, count, -1)
    weights = KeyWeights(index, weight, query_rows=selection, floor=floor)
    result = attention(query, key, value, is_causal=is_causal, key_weights=weights, capture=Columns(index))
    table = weight_table(keys, index, full, 2, rows)
    output, probabilities = oracle(query, key, value, is_causal=is_causal, weights=table)
    close(result.output, output.float())
    torch.testing.assert_close(result.columns, probabilities[..., index].mean(1).float(), rtol=3e-5, atol=0)
    stock = scaled_dot_product_attention(query, key, value, is_causal=is_causal)
    path = explain_kernel(query, key, value, is_causal=is_causal, key_weights=weights).path
    if path == "correction" and isinstance(selection, slice):
        assert torch.equal(result.output[:, :, ~chosen], stock[:, :, ~chosen])


@WAYS
@pytest.mark.parametrize("mask", [False, True])
def test_rows_that_see_nothing_give_zero_and_are_reported(rows, keys, is_causal, mask):
    query, key, value = tensors(rows, keys)
    weights = KeyWeights.of([0, 1], [0.0, 0.0])
    hidden = None
    expected = torch.zeros(rows, dtype=torch.bool)
    if is_causal:
        mask = False
        expected[:2] = True
    if mask:
        hidden = torch.ones(rows, keys, dtype=torch.bool)
        hidden[7] = False
        hidden[9, 2:] = False
        expected[[7, 9]] = True
    options = {"mask": hidden, "is_causal": is_causal, "key_weights": weights}
    watched = Columns(torch.arange(keys))
    result = attention(query, key, value, **options, capture=watched)
    assert torch.equal(dead_rows(query, key, **options).squeeze(), expected)
    assert torch.equal(result.output[:, :, expected], torch.zeros_like(result.output[:, :, expected]))
    assert torch.equal(result.columns[:, expected], torch.zeros_like(result.columns[:, expected]))
    sums = result.columns[:, ~expected].sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-5)
    neutral = attention(query, key, value, mask=hidden, is_causal=is_causal, capture=watched)
    masked = dead_rows(query, key, mask=hidden, is_causal=is_causal).squeeze()
    assert masked.tolist() == [bool(mask) and row == 7 for row in range(rows)]
    assert torch.equal(neutral.columns[:, masked], torch.zeros_like(neutral.columns[:, masked]))


@pytest.mark.parametrize("keys", [8, 300])
def test_every_key_at_zero_gives_zero(keys):
    query, key, value = tensors(32, keys)
    weights = KeyWeights.of(list(range(keys)), [0.0] * keys)
    result = attention(query, key, value, key_weights=weights, capture=Columns(torch.arange(keys)))
    assert torch.equal(result.output, torch.zeros_like(query))
    assert torch.equal(result.columns, torch.zeros(2, 32, keys))
    assert dead_rows(query, key, key_weights=weights).all()
    half = KeyWeights(torch.arange(keys), torch.tensor([[0.0] * keys, [1.0] + [0.0] * (keys - 1)]))
    assert dead_rows(query, key, key_weights=half)[:, 0, 0].tolist() == [True, False]
    result = attention(query, key, value, key_weights=half)
    close(result.output[1], value[1, :, :1].expand(-1, 32, -1))


def test_dead_rows_of_a_float_mask_and_per_head():
    query, key, _ = tensors(6, 10)
    mask = torch.zeros(2, 4, 6, 10)
    mask[1, 2, 3] = -math.inf
    dead = dead_rows(query, key, mask=mask)
    assert dead.nonzero().tolist() == [[1, 2, 3]]
    mask[0, 0, 5, 1:] = -math.inf
    dead = dead_rows(query, key, mask=mask, key_weights=KeyWeights.of([0], [0.0]))
    assert dead.nonzero().tolist() == [[0, 0, 5], [1, 2, 3]]


def test_the_cpu_kernel_returns_lse_zero_for_a_hidden_row():
    """The reason why hidden rows are read off the mask and not off the lse."""
    query, key, value = tensors(6, 10)
    mask = torch.zeros(6, 10)
    mask[2] = -math.inf
    _, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, attn_mask=mask)
    assert torch.equal(lse[:, :, 2], torch.zeros(2, 4))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    keys=st.integers(2, 200),
    rows=st.integers(1, 40),
    is_causal=st.booleans(),
    weights=st.lists(st.one_of(st.sampled_from([0.0, 1.0, -1.0]), st.floats(-8, 8, width=32)), min_size=1, max_size=6),
)
def test_any_weights_equal_the_oracle(seed, keys, rows, is_causal, weights):
    query, key, value = tensors(rows, keys, batch=1, heads=2, key_heads=1, seed=seed, gain=2.0)
    weights = weights[:keys]
    index = torch.randperm(keys, generator=torch.Generator().manual_seed(seed))[: len(weights)]
    key_weights = KeyWeights.of(index.tolist(), weights)
    options = {"is_causal": is_causal, "key_weights": key_weights, "enable_gqa": True, "capture": Columns(index)}
    result = attention(query, key, value, **options)
    table = weight_table(keys, index, torch.tensor(weights), 1, rows)
    output, probabilities = oracle(query, key, value, is_causal=is_causal, weights=table)
    torch.testing.assert_close(result.output.double(), output, rtol=0, atol=3e-5)
    torch.testing.assert_close(result.columns.double(), probabilities[..., index].mean(1), rtol=1e-4, atol=1e-37)


class TestOf:
    def test_fills_floor_and_neutral_from_the_host(self):
        assert KeyWeights.of([1], [1.2]).floor == 0.5
        assert KeyWeights.of([1], [-0.5]).floor == 0.5
        assert KeyWeights.of([1, 2], [1.2, 0.3]).floor is None
        assert not KeyWeights.of([1], [1.2]).neutral
        assert KeyWeights.of([1, 2], [[1.0, 1.0], [1.0, 1.0]]).neutral
        assert not KeyWeights.of([1, 2], [[1.0, 1.0], [1.0, 2.0]]).neutral

    def test_shapes(self):
        assert KeyWeights.of([4, 5], [1.0, 2.0]).weight.shape == (2,)
        assert KeyWeights.of([4, 5], [[1.0, 2.0], [3.0, 4.0]]).weight.tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert KeyWeights.of([], []).weight.shape == (0,)

    @pytest.mark.parametrize(
        ("index", "weight", "message"),
        [
            ([1, 1], [1.0, 2.0], "distinct"),
            ([-1], [1.0], "not negative"),
            ([1, 2], [1.0], "2 keys need 2 weights; got 1"),
            ([1, 2], [[1.0, 2.0], [1.0]], "2 keys need 2 weights; got 1"),
            ([1], [math.nan], "finite"),
            ([1], [math.inf], "finite"),
        ],
    )
    def test_refuses(self, index, weight, message):
        with pytest.raises(WeightingError, match=message):
            KeyWeights.of(index, weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": torch.tensor([[1]]), "weight": torch.ones(1)}, r"index of shape \[J\]"),
        ({"index": torch.tensor([1]), "weight": torch.ones(2)}, "J = 1"),
        ({"index": torch.tensor([1]), "weight": torch.ones(1, 1, 1, 1)}, r"\[batch, query, J\]"),
        ({"index": torch.tensor([1]), "weight": torch.ones(1, dtype=torch.int64)}, "floating point"),
        ({"index": torch.tensor([1]), "weight": torch.ones(1), "query_rows": slice(0, 9, 2)}, "step 1"),
    ],
)
def test_key_weights_refuse(arguments, message):
    with pytest.raises(WeightingError, match=message):
        KeyWeights(**arguments)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (KeyWeights(torch.tensor([1]), torch.zeros(3, 1)), "3 batch rows meet an attention with 2"),
        (KeyWeights(torch.tensor([1]), torch.zeros(2, 5, 1)), "5 query rows meet 96 rows"),
        (KeyWeights(torch.tensor([1]), torch.zeros(2, 5, 1), query_rows=slice(0, 6)), "5 query rows meet 6 rows"),
        (KeyWeights(torch.arange(301), torch.zeros(301)), "only 300"),
    ],
)
def test_weights_that_do_not_fit_the_tensors(weights, message):
    with pytest.raises(WeightingError, match=message):
        attention(*tensors(), key_weights=weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("query_rows", [None, slice(10, 3000), slice(50, 40)], ids=["all", "some", "none"])
@pytest.mark.parametrize(
    ("path", "floor", "rule"), [("merge", None, "odds"), ("correction", 0.5, "odds"), ("correction", None, "values")]
)
def test_writing_over_the_kernels_output_changes_nothing_but_its_layout(path, floor, rule, query_rows, dtype):
    """Without gradients the rows go in pieces, over what the kernel gave; with them in one, beside it."""
    query, key, value = (each.to(dtype) for each in tensors(rows=4096, keys=200, heads=8, key_heads=8, dim=40))
    weights = KeyWeights(torch.tensor([3, 7]), torch.tensor([1.4, 0.7]), query_rows=query_rows, floor=floor, rule=rule)
    options = {"key_weights": weights, "capture": Columns(torch.tensor([0, 3]))}
    assert explain_kernel(query, key, value, **options).path == path
    given = query.clone(), key.clone(), value.clone()
    with torch.no_grad():
        output, columns = attention(query, key, value, **options)
    assert all(map(torch.equal, (query, key, value), given))
    with_gradients, their_columns = attention(query, key, value, **options)
    assert torch.equal(output, with_gradients)
    torch.testing.assert_close(columns, their_columns, rtol=0, atol=1e-6)  # heads are added up in another order
    assert output.stride() == scaled_dot_product_attention(query, key, value).stride()
