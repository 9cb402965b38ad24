"""The rules "values" and "scaling" of the weights: equal to dense float64 on every path, with all that odds have."""

import hypothesis.strategies as st
import pytest
import torch
from core_oracle import PeakMemory, assert_columns, assert_output, largest_score, oracle, rule_oracle, weight_table
from hypothesis import given, settings
from test_core_attention import masks, tensors
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.functional import scaled_dot_product_attention

from promptattn.core import (
    AdditiveAttention,
    Columns,
    KeyWeights,
    LocalWindow,
    Strided,
    attention,
    dead_rows,
    explain_kernel,
    sparse_attention,
)
from promptattn.errors import WeightingError

RULES = pytest.mark.parametrize("rule", ["values", "scaling"])
KEYS = [0, 3, 9, 50]
VALUES = [[0.0, 1.7, -0.5, 2.5], [-2.0, 0.3, 1.0, 0.0]]
WATCHED = torch.tensor([3, 4, 0, 60, 50, 70])
PATH = {"values": "correction", "scaling": "merge"}


def close(got, want):
    torch.testing.assert_close(got.double(), want.double(), rtol=0, atol=4e-6)


def checked(rule, inputs, key_weights, table, path, **arguments):
    query, key, value = inputs
    options = {**arguments, "enable_gqa": query.shape[1] != key.shape[1]}
    capture = Columns(WATCHED)
    assert explain_kernel(query, key, value, key_weights=key_weights, capture=capture, **options).path == path
    result = attention(query, key, value, key_weights=key_weights, capture=capture, **options)
    output, probabilities = rule_oracle(rule, query, key, value, table, **arguments)
    top = largest_score(query, key) * (float(table.abs().max()) if rule == "scaling" else 1) + 4
    scale = float(table.abs().max().clamp(min=1))  # the output's bound: it may exceed every value
    assert_output(result.output, output, value * scale, top)
    assert_columns(result.columns, probabilities[..., WATCHED].mean(1), query.dtype, top)


@RULES
@pytest.mark.parametrize("mask", ["none", "bool", "padding", "float", "causal"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("key_heads", [4, 2])
def test_equal_to_dense_float64(rule, mask, dtype, key_heads):
    inputs = tensors(keys=300, key_heads=key_heads, dtype=dtype)
    weights = KeyWeights.of(KEYS, VALUES, rule=rule)
    table = weight_table(300, weights.index, weights.weight, 2, 96)
    arguments = {"is_causal": True} if mask == "causal" else {"mask": masks(mask, 2, 96, 300, dtype)}
    checked(rule, inputs, weights, table, PATH[rule], **arguments)


@RULES
def test_few_keys_are_dense(rule):
    inputs = tensors(keys=77)
    index = list(range(70))
    weights = KeyWeights.of(index, [0.1 * key - 2 for key in index], rule=rule)
    table = weight_table(77, weights.index, weights.weight, 2, 96)
    checked(rule, inputs, weights, table, "dense", mask=masks("bool", 2, 96, 77, torch.float32))


@RULES
@pytest.mark.parametrize("kind", ["all", "slice", "numbers", "bool"])
@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("is_causal", [False, True])
def test_query_rows_limit_the_weights(rule, kind, per_row, is_causal):
    query, key, value = tensors(96, 300)
    numbers = torch.arange(96)
    selection = {"all": None, "slice": slice(10, 30), "numbers": torch.tensor([50, 2, 11]), "bool": numbers % 3 == 0}
    chosen = selection[kind]
    picked = numbers if chosen is None else numbers[chosen]
    count = 96 if kind in ("all", "bool") else len(picked)
    weight = torch.randn((2, count, 4) if per_row else (2, 4), generator=torch.Generator().manual_seed(2)) * 2
    full = torch.ones(2, 96, 4)
    given = weight if per_row else weight[:, None].expand(-1, count, -1)
    full[:, picked] = given[:, picked] if kind in ("all", "bool") else given
    weights = KeyWeights(torch.tensor(KEYS), weight, query_rows=chosen, rule=rule)
    result = attention(query, key, value, is_causal=is_causal, key_weights=weights, capture=Columns(WATCHED))
    table = weight_table(300, weights.index, full, 2, 96)
    output, probabilities = rule_oracle(rule, query, key, value, table, is_causal=is_causal)
    close(result.output / 8, output / 8)
    torch.testing.assert_close(result.columns.double(), probabilities[..., WATCHED].mean(1), rtol=1e-4, atol=1e-30)
    if kind == "slice" and rule == "values":
        stock = scaled_dot_product_attention(query, key, value, is_causal=is_causal)
        outside = torch.cat([numbers[:10], numbers[30:]])
        assert torch.equal(result.output[:, :, outside], stock[:, :, outside])


@RULES
@pytest.mark.parametrize("keys", [77, 300])
def test_all_one_is_the_librarys_own_call(rule, keys):
    query, key, value = tensors(64, keys)
    ones = KeyWeights.of(KEYS, [1.0] * 4, rule=rule)
    stock = scaled_dot_product_attention(query, key, value)
    assert torch.equal(attention(query, key, value, key_weights=ones, capture=Columns(WATCHED)).output, stock)
    unknown = KeyWeights(torch.tensor(KEYS), torch.ones(4), rule=rule)
    close(attention(query, key, value, key_weights=unknown).output, stock)


@pytest.mark.parametrize("keys", [77, 300])
def test_values_multiplies_columns_and_leaves_the_map(keys):
    """Prompt-to-Prompt: the map's column times c after the softmax; what is captured is the map that was multiplied."""
    query, key, value = tensors(64, keys)
    index, weight = torch.tensor(KEYS), torch.tensor([2.0, -1.0, 0.0, 5.0])
    every = Columns(torch.arange(keys), reduce="none")
    before = attention(query, key, value, capture=every)
    after = attention(query, key, value, key_weights=KeyWeights(index, weight, rule="values"), capture=every)
    torch.testing.assert_close(after.columns, before.columns, rtol=1e-5, atol=1e-30)
    close(after.output, before.output + (before.columns[..., index] * (weight - 1)) @ value[:, :, index])
    scaled = value.clone()
    scaled[:, :, index] *= weight[:, None]
    close(after.output, scaled_dot_product_attention(query, key, scaled))


@pytest.mark.parametrize("keys", [77, 300])
@pytest.mark.parametrize("weight", [-2.0, -0.5, 0.0, 0.25, 3.0])
def test_scaling_is_a_longer_key_and_value(keys, weight):
    query, key, value = tensors(64, keys)
    longer, larger = key.clone(), value.clone()
    longer[:, :, KEYS] *= abs(weight)
    larger[:, :, KEYS] *= weight
    weights = KeyWeights.of(KEYS, [weight] * 4, rule="scaling")
    close(attention(query, key, value, key_weights=weights).output, scaled_dot_product_attention(query, longer, larger))


@RULES
def test_no_odds_no_dead_rows(rule):
    query, key, value = tensors(32, 8)
    weights = KeyWeights.of(list(range(8)), [0.0] * 8, rule=rule)
    assert not dead_rows(query, key, key_weights=weights).any()
    result = attention(query, key, value, key_weights=weights, capture=Columns(torch.arange(8)))
    assert torch.equal(result.output, torch.zeros_like(query))
    torch.testing.assert_close(result.columns.sum(-1), torch.ones(2, 32))


@RULES
@pytest.mark.parametrize("keys", [24, 300])
@pytest.mark.parametrize("is_causal", [False, True])
def test_gradients_equal_dense_float64(rule, keys, is_causal):
    index = torch.tensor([1, 2, 9, 20])
    watched = torch.tensor([2, 3, 20])
    weight = torch.tensor(VALUES)
    inputs = [tensor.requires_grad_() for tensor in (*tensors(keys=keys), weight)]
    doubles = [tensor.detach().double().requires_grad_() for tensor in inputs]
    generator = torch.Generator().manual_seed(5)
    out, columns = (torch.randn(size, generator=generator) for size in ((2, 4, 96, 16), (2, 96, 3)))
    weights = KeyWeights(index, inputs[3], rule=rule)
    got = attention(*inputs[:3], key_weights=weights, capture=Columns(watched), is_causal=is_causal)
    table = torch.ones(2, 1, 1, keys, dtype=torch.float64).index_copy(3, index, doubles[3][:, None, None])
    want, mass = rule_oracle(rule, *doubles[:3], table, is_causal=is_causal)
    ours = torch.autograd.grad((got.output * out).sum() + 5 * (got.columns * columns).sum(), inputs)
    theirs = torch.autograd.grad((want * out).sum() + 5 * (mass[..., watched].mean(1) * columns).sum(), doubles)
    for mine, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.double(), right, rtol=0, atol=2e-5 * float(right.abs().max()))


@RULES
def test_one_graph_for_all_weights(rule):
    torch._dynamo.reset()
    query, key, value = tensors(keys=300)
    counter = CompileCounterWithBackend("aot_eager")

    def call(key_weights):
        return attention(query, key, value, key_weights=key_weights, capture=Columns(WATCHED))

    fast = torch.compile(call, fullgraph=True, backend=counter)
    for values in (VALUES, [[3.0, 0.0, 0.1, 7.0], [0.1, 0.2, 0.3, -0.4]]):
        weights = KeyWeights.of(KEYS, values, rule=rule)
        for ours, theirs in zip(fast(weights), call(weights), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=1e-5)
    assert counter.frame_count == 1
    torch._dynamo.reset()


@RULES
def test_nothing_of_size_query_times_key(rule):
    query, key, value = tensors(2048, 2048, batch=1, heads=2, key_heads=2)
    weights = KeyWeights.of(KEYS, VALUES[0], rule=rule, query_rows=slice(100, 2048))
    with torch.no_grad(), PeakMemory() as memory:
        attention(query, key, value, key_weights=weights, capture=Columns(WATCHED))
    assert memory.peak < 2 * 2048 * 2048  # a quarter of one head's table in float32


@RULES
@pytest.mark.parametrize("pattern", [LocalWindow(7, True), LocalWindow(9, False), Strided(8, 8, True)])
def test_sparse_attention(rule, pattern):
    inputs = tensors(60, 60)
    rows = torch.arange(60)
    weights = KeyWeights.of(KEYS, VALUES, rule=rule)
    watched = torch.tensor([3, 4, 50])
    result = sparse_attention(*inputs, pattern, key_weights=weights, capture=Columns(watched))
    table = weight_table(60, weights.index, weights.weight, 2, 60)
    output, mass = rule_oracle(rule, *inputs, table, mask=pattern(rows[:, None], rows[None, :]))
    close(result.output, output)
    torch.testing.assert_close(result.columns.double(), mass[..., watched].mean(1), rtol=1e-4, atol=1e-30)


def test_additive_attention_knows_values_but_no_scaling():
    torch.manual_seed(0)
    module = AdditiveAttention(8, 6, 5)
    query, key = torch.randn(2, 9, 8), torch.randn(2, 7, 6)
    index, weight = torch.tensor([1, 4]), torch.tensor([-2.0, 0.5])
    every = Columns(torch.arange(7))
    mass = module(query, key, capture=every).columns
    result = module(query, key, key_weights=KeyWeights(index, weight, rule="values"), capture=every)
    torch.testing.assert_close(result.columns, mass)
    torch.testing.assert_close(result.output, mass.index_copy(2, index, mass[..., index] * weight) @ key)
    with pytest.raises(WeightingError, match="additive attention are not: use rule="):
        module(query, key, key_weights=KeyWeights(index, weight, rule="scaling"))


@settings(max_examples=60, deadline=None)
@given(
    rule=st.sampled_from(["values", "scaling"]),
    seed=st.integers(0, 2**16),
    keys=st.integers(2, 200),
    rows=st.integers(1, 40),
    is_causal=st.booleans(),
    weights=st.lists(st.one_of(st.sampled_from([0.0, 1.0, -1.0]), st.floats(-8, 8, width=32)), min_size=1, max_size=6),
)
def test_any_weights_equal_the_oracle(rule, seed, keys, rows, is_causal, weights):
    query, key, value = tensors(rows, keys, batch=1, heads=2, key_heads=1, seed=seed)
    weights = weights[:keys]
    index = torch.randperm(keys, generator=torch.Generator().manual_seed(seed))[: len(weights)]
    options = {"is_causal": is_causal, "enable_gqa": True, "capture": Columns(index)}
    result = attention(query, key, value, key_weights=KeyWeights.of(index.tolist(), weights, rule=rule), **options)
    table = weight_table(keys, index, torch.tensor(weights), 1, rows)
    output, probabilities = rule_oracle(rule, query, key, value, table, is_causal=is_causal)
    torch.testing.assert_close(result.output.double(), output, rtol=0, atol=2e-4)
    torch.testing.assert_close(result.columns.double(), probabilities[..., index].mean(1), rtol=1e-3, atol=1e-30)


def test_a_weight_of_minus_one_is_the_same_by_every_rule():
    query, key, value = tensors(64, 300)
    weights = [KeyWeights.of(KEYS, [-1.0] * 4, rule=rule) for rule in ("odds", "values", "scaling")]
    outputs = [attention(query, key, value, key_weights=each).output for each in weights]
    table = weight_table(300, torch.tensor(KEYS), torch.full((4,), -1.0), 2, 64)
    for output in outputs:
        close(output, oracle(query, key, value, weights=table)[0])


def test_a_rule_that_does_not_exist():
    with pytest.raises(WeightingError, match="rule='sum' is none of odds, values, scaling"):
        KeyWeights.of([1], [2.0], rule="sum")
