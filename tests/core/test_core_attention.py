"""`core.attention` against a dense float64 softmax: dtypes, masks, shapes, paths."""

import math
import subprocess
import sys

import pytest
import torch
from core_oracle import assert_columns, assert_output, largest_score, oracle, weight_table
from torch.nn.functional import scaled_dot_product_attention

from promptattn.core import Columns, KeyWeights, attention, explain_kernel

GENTLE = torch.tensor([[2.0, 0.6, -1.5, 1.0], [1.0, 1.0, 3.0, -0.7]])
WILD = torch.tensor([[0.0, 1e-3, -0.5, 100.0], [0.5, 0.0, 1.0, -2.0]])
KEYS = torch.tensor([0, 3, 9, 50])
WATCHED = torch.tensor([3, 4, 0, 60, 50, 76])


def tensors(rows=96, keys=300, *, batch=2, heads=4, key_heads=4, dim=16, dtype=torch.float32, seed=0, gain=1.0):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, heads, rows, dim, generator=generator) * gain
    key, value = torch.randn(2, batch, key_heads, keys, dim, generator=generator)
    return query.to(dtype), key.to(dtype), value.to(dtype)


def masks(kind, batch, rows, keys, dtype):
    """Masks with a row that sees nothing and rows that see a single key, weighted or not."""
    if kind == "none":
        return None
    generator = torch.Generator().manual_seed(1)
    if kind == "bool":
        mask = torch.rand(rows, keys, generator=generator) > 0.3
        mask[5] = mask[6] = mask[7] = False
        mask[6, 3] = mask[7, 20] = True
        return mask
    if kind == "padding":
        mask = torch.ones(batch, 1, 1, keys, dtype=torch.bool)
        mask[0, ..., keys // 2 :] = False
        return mask
    mask = torch.randn(batch, 1, rows, keys, generator=generator)
    mask = mask.masked_fill(torch.rand(mask.shape, generator=generator) > 0.7, -math.inf)
    mask[0, 0, 5] = -math.inf
    return mask.to(dtype)


def check(inputs, key_weights, table, path, **arguments):
    """One call against the oracle: output, columns and the path it takes."""
    query, key, value = inputs
    capture = Columns(WATCHED)
    arguments["enable_gqa"] = query.shape[1] != key.shape[1]
    result = attention(query, key, value, key_weights=key_weights, capture=capture, **arguments)
    explained = explain_kernel(query, key, value, key_weights=key_weights, capture=capture, **arguments)
    assert explained.path == path, explained
    arguments.pop("enable_gqa")
    output, probabilities = oracle(query, key, value, weights=table, **arguments)
    top = largest_score(query, key) + 4 * (arguments.get("mask") is not None)
    assert result.output.dtype == query.dtype
    assert_output(result.output, output, value, top)
    assert_columns(result.columns, probabilities[..., WATCHED].mean(1), query.dtype, top)
    return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("mask", ["none", "bool", "padding", "float", "causal"])
@pytest.mark.parametrize("weights", ["neutral", "gentle", "wild"])
@pytest.mark.parametrize("keys", [77, 300])
def test_equals_dense_softmax(dtype, mask, weights, keys):
    inputs = tensors(keys=keys, key_heads=2, dtype=dtype)
    arguments = {"is_causal": True} if mask == "causal" else {"mask": masks(mask, 2, 96, keys, dtype)}
    if weights == "neutral":
        result = check(inputs, None, None, "fused+lse", **arguments)
        stock = scaled_dot_product_attention(
            *inputs, attn_mask=arguments.get("mask"), is_causal=mask == "causal", enable_gqa=True
        )
        assert torch.equal(result.output, stock)
        return
    values = GENTLE if weights == "gentle" else WILD
    key_weights = KeyWeights.of(KEYS.tolist(), values.tolist())
    path = "correction" if weights == "gentle" else "merge"
    check(inputs, key_weights, weight_table(keys, KEYS, values, 2, 96), path, **arguments)


@pytest.mark.parametrize("dim", [8, 16, 40, 64, 72, 80, 128, 160, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("is_causal", [False, True])
def test_head_dimensions(dim, dtype, is_causal):
    inputs = tensors(rows=40, keys=150, heads=2, key_heads=2, dim=dim, dtype=dtype)
    check(inputs, None, None, "fused+lse", is_causal=is_causal)
    key_weights = KeyWeights.of(KEYS.tolist(), WILD.tolist())
    check(inputs, key_weights, weight_table(150, KEYS, WILD, 2, 40), "merge", is_causal=is_causal)


@pytest.mark.parametrize(("rows", "keys"), [(1, 77), (300, 150), (150, 300), (257, 513)])
@pytest.mark.parametrize("is_causal", [False, True])
def test_unequal_lengths(rows, keys, is_causal):
    inputs = tensors(rows=rows, keys=keys)
    check(inputs, None, None, "fused+lse", is_causal=is_causal)
    for values, path in ((GENTLE, "correction"), (WILD, "merge")):
        key_weights = KeyWeights.of(KEYS.tolist(), values.tolist())
        check(inputs, key_weights, weight_table(keys, KEYS, values, 2, rows), path, is_causal=is_causal)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_grouped_and_multi_query_heads_match_repeated_keys(key_heads):
    query, key, value = tensors(key_heads=key_heads)
    repeated = [tensor.repeat_interleave(4 // key_heads, 1) for tensor in (key, value)]
    for values in (GENTLE, WILD):
        key_weights = KeyWeights.of(KEYS.tolist(), values.tolist())
        capture = Columns(WATCHED, reduce="none")
        few = attention(query, key, value, enable_gqa=True, key_weights=key_weights, capture=capture)
        many = attention(query, *repeated, key_weights=key_weights, capture=capture)
        torch.testing.assert_close(few.output, many.output, rtol=0, atol=2e-6)
        torch.testing.assert_close(few.columns, many.columns, rtol=2e-5, atol=0)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("keys", [77, 300])
def test_three_dimensional_inputs_are_batches_of_single_heads(is_causal, keys):
    query, key, value = (tensor.squeeze(1) for tensor in tensors(keys=keys, heads=1, key_heads=1))
    stock = scaled_dot_product_attention(query, key, value, is_causal=is_causal)
    four = [tensor.unsqueeze(1) for tensor in (query, key, value)]
    for values in (None, GENTLE, WILD):
        key_weights = None if values is None else KeyWeights.of(KEYS.tolist(), values.tolist())
        flat = attention(query, key, value, is_causal=is_causal, key_weights=key_weights, capture=Columns(WATCHED))
        full = attention(*four, is_causal=is_causal, key_weights=key_weights, capture=Columns(WATCHED))
        assert flat.output.shape == query.shape
        torch.testing.assert_close(flat.output, full.output.squeeze(1), rtol=0, atol=2e-6)
        torch.testing.assert_close(flat.columns, full.columns, rtol=2e-5, atol=0)
        if values is None:
            assert torch.equal(flat.output, stock)


@pytest.mark.parametrize("mask_shape", [(96, 300), (2, 96, 300), (1, 300), (96, 1)])
def test_three_dimensional_masks(mask_shape):
    query, key, value = (tensor.squeeze(1) for tensor in tensors(heads=1, key_heads=1))
    mask = torch.rand(mask_shape, generator=torch.Generator().manual_seed(3)) > 0.2
    four = mask.unsqueeze(1) if mask.ndim == 3 else mask
    key_weights = KeyWeights.of(KEYS.tolist(), WILD.tolist())
    result = attention(query, key, value, mask=mask, key_weights=key_weights, capture=Columns(WATCHED))
    table = weight_table(300, KEYS, WILD, 2, 96)
    output, probabilities = oracle(*(t.unsqueeze(1) for t in (query, key, value)), mask=four, weights=table)
    assert_output(result.output, output.squeeze(1), value, 5.0)
    assert_columns(result.columns, probabilities[..., WATCHED].squeeze(1), torch.float32, 5.0)
    stock = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert torch.equal(attention(query, key, value, mask=mask, capture=Columns(WATCHED)).output, stock)


@pytest.mark.parametrize("mask_shape", [(1, 300), (4, 96, 300), (2, 1, 1, 300), (1, 4, 96, 300), (2, 4, 96, 1)])
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_broadcast_masks(mask_shape, kind):
    query, key, value = tensors()
    mask = torch.rand(mask_shape, generator=torch.Generator().manual_seed(3))
    mask = mask > 0.2 if kind == "bool" else mask * 4
    stock = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    for values in (None, GENTLE, WILD):
        key_weights = None if values is None else KeyWeights.of(KEYS.tolist(), values.tolist())
        table = None if values is None else weight_table(300, KEYS, values, 2, 96)
        result = attention(query, key, value, mask=mask, key_weights=key_weights, capture=Columns(WATCHED))
        output, probabilities = oracle(query, key, value, mask=mask, weights=table)
        assert_output(result.output, output, value, 9.0)
        assert_columns(result.columns, probabilities[..., WATCHED].mean(1), torch.float32, 9.0)
        if values is None:
            assert torch.equal(result.output, stock)


def strided_versions(query, key, value):
    yield "transposed", [t.transpose(1, 2).contiguous().transpose(1, 2) for t in (query, key, value)]
    yield "every second channel", [torch.stack([t, t + 1], -1).flatten(-2)[..., ::2] for t in (query, key, value)]
    packed = torch.cat([query, key[:, :, : query.shape[2]], value[:, :, : query.shape[2]]], -1)
    yield "packed qkv", list(packed.chunk(3, dim=-1))
    yield "batch of one, expanded", [t[:1].expand(2, -1, -1, -1) for t in (query, key, value)]


@pytest.mark.parametrize("case", range(4))
def test_strided_inputs(case):
    name, inputs = list(strided_versions(*tensors(rows=300)))[case]
    query, key, value = inputs
    stock = scaled_dot_product_attention(query, key, value)
    result = attention(query, key, value, capture=Columns(WATCHED))
    assert torch.equal(result.output, stock), name
    probabilities = oracle(query, key, value)[1]
    assert_columns(result.columns, probabilities[..., WATCHED].mean(1), torch.float32, largest_score(query, key))
    for values, path in ((GENTLE, "correction"), (WILD, "merge")):
        check(inputs, KeyWeights.of(KEYS.tolist(), values.tolist()), weight_table(300, KEYS, values, 2, 300), path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("mask", ["none", "bool", "float"])
def test_autocast_casts_as_the_library_does(dtype, mask):
    query, key, value = tensors()
    mask = masks(mask, 2, 96, 300, torch.float32)
    with torch.autocast("cpu", dtype=dtype):
        stock = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        neutral = attention(query, key, value, mask=mask)
        watched = attention(query, key, value, mask=mask, capture=Columns(WATCHED))
        key_weights = KeyWeights.of(KEYS.tolist(), WILD.tolist())
        weighted = attention(query, key, value, mask=mask, key_weights=key_weights, capture=Columns(WATCHED))
    assert stock.dtype == dtype
    assert torch.equal(neutral.output, stock)
    assert torch.equal(watched.output, stock)
    low = [tensor.to(dtype) for tensor in (query, key, value)]
    low_mask = mask.to(dtype) if mask is not None and mask.is_floating_point() else mask
    for result, table in ((watched, None), (weighted, weight_table(300, KEYS, WILD, 2, 96))):
        output, probabilities = oracle(*low, mask=low_mask, weights=table)
        assert_output(result.output, output, value, 8.0)
        assert_columns(result.columns, probabilities[..., WATCHED].mean(1), dtype, 8.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("value", [0.0, 1e-6, 0.1, -0.3, 0.9, 50.0])
def test_peaked_rows(dtype, value):
    """One key holds more than 0.99 of every row: the case in which correcting by subtraction falls apart."""
    query, key, v = tensors(dtype=dtype, dim=32)
    key[:, :, 3] = 0
    key[:, :, 3, 0] = 40
    query[..., 0] = 4
    assert float(oracle(query, key, v)[1][..., 3].min()) > 0.99
    values = torch.tensor([value])
    key_weights = KeyWeights.of([3], [value])
    table = weight_table(300, torch.tensor([3]), values, 2, 96)
    check((query, key, v), key_weights, table, "correction" if abs(value) >= 0.5 else "merge")


@pytest.mark.parametrize("count", [8, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("is_causal", [False, True])
def test_many_keys_at_zero(count, dtype, is_causal):
    inputs = tensors(dtype=dtype)
    keys = torch.randperm(300, generator=torch.Generator().manual_seed(5))[:count]
    table = weight_table(300, keys, torch.zeros(count), 2, 96)
    check(inputs, KeyWeights.of(keys.tolist(), [0.0] * count), table, "merge", is_causal=is_causal)


def test_scores_far_apart_neither_overflow_nor_vanish():
    """A deleted key 200 above all the others: what is left still adds up to 1."""
    query, key, value = tensors(dim=16)
    key[:, :, 3] = 200 * query.sign()[:, :, 0] * 4 / query.abs().sum(-1)[:, :, :1]
    result = attention(query, key, value, key_weights=KeyWeights.of([3], [0.0]), capture=Columns(torch.arange(300)))
    without = [torch.cat([t[:, :, :3], t[:, :, 4:]], 2) for t in (key, value)]
    expected = scaled_dot_product_attention(query, *without)
    torch.testing.assert_close(result.output, expected, rtol=0, atol=1e-5)
    assert torch.equal(result.columns[..., 3], torch.zeros(2, 96))
    torch.testing.assert_close(result.columns.sum(-1), torch.ones(2, 96), rtol=0, atol=1e-5)


def test_value_dimension_may_differ():
    query, key, value = tensors()
    value = torch.cat([value, value[..., :5] + 1], -1)
    stock = scaled_dot_product_attention(query, key, value)
    for values in (None, GENTLE, WILD):
        key_weights = None if values is None else KeyWeights.of(KEYS.tolist(), values.tolist())
        table = None if values is None else weight_table(300, KEYS, values, 2, 96)
        result = attention(query, key, value, key_weights=key_weights, capture=Columns(WATCHED))
        output, probabilities = oracle(query, key, value, weights=table)
        assert_output(result.output, output, value, 5.0)
        assert_columns(result.columns, probabilities[..., WATCHED].mean(1), torch.float32, 5.0)
        if values is None:
            assert torch.equal(result.output, stock)


@pytest.mark.parametrize("scale", [1.0, 0.03, -0.2, 0.0])
@pytest.mark.parametrize("is_causal", [False, True])
def test_scale(scale, is_causal):
    query, key, value = tensors()
    stock = scaled_dot_product_attention(query, key, value, scale=scale, is_causal=is_causal)
    for values in (None, GENTLE, WILD):
        key_weights = None if values is None else KeyWeights.of(KEYS.tolist(), values.tolist())
        table = None if values is None else weight_table(300, KEYS, values, 2, 96)
        arguments = {"scale": scale, "is_causal": is_causal}
        result = attention(query, key, value, key_weights=key_weights, capture=Columns(WATCHED), **arguments)
        output, probabilities = oracle(query, key, value, weights=table, **arguments)
        top = largest_score(query, key, scale)
        if values is not None or not stock.isnan().any():  # The library gives NaN for causal scales of 0 or less.
            assert_output(result.output, output, value, top)
        assert_columns(result.columns, probabilities[..., WATCHED].mean(1), torch.float32, top)
        if values is None:
            assert torch.equal(result.output.nan_to_num(), stock.nan_to_num())


NEWER_SETTING = """
import torch
from promptattn.core import Columns, attention
torch.backends.fp32_precision = "tf32"
q, k, v = torch.randn(3, 1, 2, 300, 16).unbind(0)
columns = attention(q, k, v, capture=Columns(torch.arange(300))).columns
assert (columns.sum(-1) - 1).abs().max() < 1e-5
"""


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_reduced_matmul_precision_does_not_reach_the_columns(precision, monkeypatch):
    """Where the setting allows it, the thin products go through float64 (this CPU may not have the formats)."""
    query, key, value = tensors(dim=64, gain=3)
    dtypes = []
    double = torch.Tensor.double
    monkeypatch.setattr(torch.Tensor, "double", lambda tensor: dtypes.append(tensor.dtype) or double(tensor))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        result = attention(query, key, value, capture=Columns(WATCHED))
    finally:
        torch.set_float32_matmul_precision(before)
    assert dtypes == [torch.float32] * 2
    monkeypatch.undo()
    probabilities = oracle(query, key, value)[1]
    assert_columns(result.columns, probabilities[..., WATCHED].mean(1), torch.float32, largest_score(query, key))


def test_the_newer_precision_settings_are_understood():
    """They make the older getter raise; in a process of its own, because torch does not like to go back."""
    subprocess.run([sys.executable, "-c", NEWER_SETTING], check=True, timeout=120)


def test_dropout_acts_on_the_output_and_not_on_the_columns():
    query, key, value = tensors()
    torch.manual_seed(11)
    stock = scaled_dot_product_attention(query, key, value, dropout_p=0.4)
    torch.manual_seed(11)
    result = attention(query, key, value, dropout_p=0.4, capture=Columns(WATCHED))
    assert torch.equal(result.output, stock)
    clean = attention(query, key, value, capture=Columns(WATCHED))
    torch.testing.assert_close(result.columns, clean.columns, rtol=1e-5, atol=0)
    key_weights = KeyWeights.of(KEYS.tolist(), WILD.tolist())
    mean = torch.stack(
        [attention(query, key, value, dropout_p=0.4, key_weights=key_weights).output for _ in range(60)]
    ).mean(0)
    weighted = attention(query, key, value, key_weights=key_weights).output
    assert float((mean - weighted).abs().mean()) < 0.2 * float(weighted.abs().mean())


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 4, 8, 16), (2, 4, 9, 16), (2, 4, 7, 16)), "same heads and rows"),
        (((2, 4, 8, 16), (2, 3, 9, 16), (2, 3, 9, 16)), "heads"),
        (((8, 16), (9, 16), (9, 16)), r"\[batch, head, row, dim\]"),
    ],
)
def test_tensors_that_do_not_fit(shapes, message):
    query, key, value = (torch.randn(shape) for shape in shapes)
    with pytest.raises((ValueError, RuntimeError), match=message):
        attention(query, key, value, capture=Columns(torch.tensor([0])), enable_gqa=query.ndim == 4)


def test_mask_and_causal_together_are_refused():
    query, key, value = tensors()
    with pytest.raises(ValueError, match="not both"):
        attention(query, key, value, mask=torch.ones(96, 300), is_causal=True, capture=Columns(WATCHED))
