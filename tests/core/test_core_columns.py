"""What can be watched: groups, heads, rows, buffers."""

import pytest
import torch
from core_oracle import oracle, weight_table
from test_core_attention import tensors
from torch.nn.functional import scaled_dot_product_attention

from promptattn.core import Columns, KeyWeights, attention, explain_kernel
from promptattn.errors import CaptureError

INDEX = torch.tensor([3, 9, 20, 21, 60])
WEIGHTS = {
    "neutral": (None, None),
    "merge": ([9, 60, 5], [0.0, 3.0, -0.2]),
    "correction": ([9, 60, 5], [0.5, 3.0, -0.7]),
    "dense": (list(range(70)), [0.1 * key for key in range(70)]),
}
LENGTHS = {"neutral": 300, "merge": 300, "correction": 300, "dense": 77}


@pytest.fixture(params=sorted(WEIGHTS))
def case(request):
    """Inputs, weights and the oracle's probabilities `[batch, head, query, key]` for one path."""
    keys = LENGTHS[request.param]
    inputs = tensors(keys=keys)
    index, values = WEIGHTS[request.param]
    key_weights = None if index is None else KeyWeights.of(index, values)
    table = None if index is None else weight_table(keys, torch.tensor(index), torch.tensor(values), 2, 96)
    path = explain_kernel(*inputs, key_weights=key_weights, capture=Columns(INDEX)).path
    assert path == {"neutral": "fused+lse"}.get(request.param, request.param)
    return inputs, key_weights, oracle(*inputs, weights=table)[1]


def check(got, want):
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want.float(), rtol=5e-5, atol=1e-12)


def columns(case, capture):
    inputs, key_weights, _ = case
    return attention(*inputs, key_weights=key_weights, capture=capture).columns


def test_mean_and_none(case):
    check(columns(case, Columns(INDEX)), case[2][..., INDEX].mean(1))
    check(columns(case, Columns(INDEX, reduce="none")), case[2][..., INDEX])


def test_several_captures_of_one_call(case):
    some = Columns(torch.tensor([5, 20]), query_rows=slice(3, 9), reduce="none")
    buffer = torch.zeros(2, 96, len(INDEX))
    first, second = columns(case, [some, Columns(INDEX, into=buffer)])
    check(first, case[2][:, :, 3:9][..., [5, 20]])
    check(second, case[2][..., INDEX].mean(1))
    assert second is buffer
    alone = columns(case, [some])
    assert isinstance(alone, tuple)
    assert torch.equal(alone[0], columns(case, some))


@pytest.mark.parametrize("heads", [(0,), (1, 2), (3, 0), (2, 2, 1)])
def test_heads(case, heads):
    check(columns(case, Columns(INDEX, heads=heads)), case[2][:, heads][..., INDEX].mean(1))
    check(columns(case, Columns(INDEX, heads=heads, reduce="none")), case[2][:, heads][..., INDEX])


@pytest.mark.parametrize("batch_rows", [slice(1, 2), slice(None), torch.tensor([1, 0])], ids=str)
@pytest.mark.parametrize("query_rows", [slice(10, 40), slice(-5, None), torch.tensor([95, 0, 7])], ids=str)
@pytest.mark.parametrize("reduce", ["mean", "none"])
def test_rows(case, batch_rows, query_rows, reduce):
    want = case[2][batch_rows][:, :, query_rows][..., INDEX]
    got = columns(case, Columns(INDEX, batch_rows=batch_rows, query_rows=query_rows, reduce=reduce))
    check(got, want.mean(1) if reduce == "mean" else want)


@pytest.mark.parametrize("reduce", ["mean", "none"])
@pytest.mark.parametrize("n_groups", [None, 4])
def test_groups_are_summed_and_minus_one_is_dropped(case, reduce, n_groups):
    groups = torch.tensor([1, 0, 1, -1, 2])
    want = torch.zeros(2, 4, 96, n_groups or 3, dtype=torch.float64)
    for column, group in zip(INDEX, groups, strict=True):
        if group >= 0:
            want[..., group] += case[2][..., column]
    got = columns(case, Columns(INDEX, groups=groups, n_groups=n_groups, reduce=reduce))
    check(got, want.mean(1) if reduce == "mean" else want)


@pytest.mark.parametrize("reduce", ["mean", "none"])
@pytest.mark.parametrize("batch_rows", [None, slice(1, 2)])
def test_groups_per_batch_row(case, reduce, batch_rows):
    groups = torch.tensor([[1, 0, 1, -1, 2], [0, 0, 0, 0, -1]])
    want = torch.zeros(2, 4, 96, 3, dtype=torch.float64)
    for row in range(2):
        for column, group in zip(INDEX, groups[row], strict=True):
            if group >= 0:
                want[row, ..., group] += case[2][row, ..., column]
    want = want if batch_rows is None else want[batch_rows]
    want = want.mean(1) if reduce == "mean" else want
    check(columns(case, Columns(INDEX, groups=groups, batch_rows=batch_rows, reduce=reduce)), want)
    if batch_rows is not None:
        check(
            columns(case, Columns(INDEX, groups=groups[batch_rows], n_groups=3, batch_rows=batch_rows, reduce=reduce)),
            want,
        )


def test_all_columns_sum_to_one(case):
    inputs, key_weights, _ = case
    keys = inputs[1].shape[2]
    sums = attention(*inputs, key_weights=key_weights, capture=Columns(torch.arange(keys))).columns.sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-5)


@pytest.mark.parametrize("reduce", ["mean", "none"])
def test_into_is_added_to_in_place(case, reduce):
    inputs, key_weights, _ = case
    fresh = columns(case, Columns(INDEX, reduce=reduce))
    buffer = torch.full_like(fresh, 2.0)
    capture = Columns(INDEX, reduce=reduce, into=buffer)
    for step in (1, 2, 3):
        result = attention(*inputs, key_weights=key_weights, capture=capture)
        assert result.columns is buffer
        torch.testing.assert_close(buffer, 2 + step * fresh, rtol=1e-6, atol=1e-6)


def test_into_holds_no_graph(case):
    inputs, key_weights, _ = case
    query = inputs[0].clone().requires_grad_()
    buffer = torch.zeros(2, 96, 5)
    result = attention(query, *inputs[1:], key_weights=key_weights, capture=Columns(INDEX, into=buffer))
    assert result.output.requires_grad
    assert not buffer.requires_grad
    check(buffer, case[2][..., INDEX].mean(1))


def test_capture_does_not_change_the_output(case):
    inputs, key_weights, _ = case
    off = attention(*inputs, key_weights=key_weights).output
    assert torch.equal(attention(*inputs, key_weights=key_weights, capture=Columns(INDEX)).output, off)
    if key_weights is None:
        assert torch.equal(off, scaled_dot_product_attention(*inputs))


def test_no_columns(case):
    assert columns(case, Columns(torch.empty(0, dtype=torch.int64))).shape == (2, 96, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": INDEX[None]}, r"index of shape \[C\]"),
        ({"index": INDEX, "reduce": "max"}, '"mean" or "none"'),
        ({"index": INDEX, "heads": ()}, "heads is empty"),
        ({"index": INDEX, "groups": torch.tensor([0, 1])}, "groups for 5 columns"),
    ],
)
def test_columns_refuse(arguments, message):
    with pytest.raises(CaptureError, match=message):
        Columns(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": (4,)}, "has heads 0 to 3"),
        ({"heads": (-1,)}, "has heads 0 to 3"),
        ({"into": torch.zeros(2, 96, 4)}, r"shape \[2, 96, 4\], but these columns have \[2, 96, 5\]"),
        ({"into": torch.zeros(2, 96, 5, requires_grad=True)}, "must not require gradients"),
    ],
)
def test_columns_that_do_not_fit_the_tensors(case, arguments, message):
    with pytest.raises(CaptureError, match=message):
        columns(case, Columns(INDEX, **arguments))
