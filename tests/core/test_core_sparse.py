"""Sparse attention: equal to dense attention under the same mask, at a cost of n * sqrt(n)."""

import pytest
import torch
from core_oracle import PeakMemory, oracle, weight_table
from test_core_attention import tensors
from torch.utils.flop_counter import FlopCounterMode

from promptattn.core import Columns, KeyWeights, LocalWindow, Strided, sparse_attention

KEYS = torch.tensor([0, 5, 30])
WEIGHT = torch.tensor([[0.0, 2.0, -1.0], [3.0, 0.0, 0.5]])
WATCHED = torch.tensor([0, 5, 6, 49])

PATTERNS = [
    lambda causal: LocalWindow(7, causal),
    lambda causal: LocalWindow(0, causal),
    lambda causal: LocalWindow(1, causal),
    lambda causal: LocalWindow(100, causal),
    lambda causal: Strided(8, 0, causal),
    lambda causal: Strided(8, 8, causal),
    lambda causal: Strided(7, 20, causal),
    lambda causal: Strided(1, 0, causal),
    lambda causal: Strided(100, 3, causal),
    lambda causal: Strided.for_length(50, is_causal=causal),
]


def by_definition(pattern, length):
    """The sets A_i of the paper's section 4.3, written as loops."""
    mask = torch.zeros(length, length, dtype=torch.bool)
    for i in range(length):
        for j in range(length):
            near = abs(i - j) <= pattern.window
            every = isinstance(pattern, Strided) and (i - j) % pattern.stride == 0
            mask[i, j] = (near or every) and (j <= i or not pattern.is_causal)
    return mask


@pytest.mark.parametrize("length", [50, 64])
@pytest.mark.parametrize("is_causal", [True, False], ids=["causal", "both ways"])
@pytest.mark.parametrize("make", PATTERNS, ids=lambda make: str(make(True)))
@pytest.mark.parametrize("weighted", [False, True], ids=["neutral", "weighted"])
def test_equals_dense_attention_under_the_same_mask(length, is_causal, make, weighted):
    pattern = make(is_causal)
    query, key, value = tensors(length, length, key_heads=2, dim=8)
    mask = by_definition(pattern, length)
    numbers = torch.arange(length)
    assert torch.equal(pattern(numbers[:, None], numbers), mask)
    weights = KeyWeights(KEYS, WEIGHT) if weighted else None
    result = sparse_attention(query, key, value, pattern, key_weights=weights, capture=Columns(WATCHED))
    table = weight_table(length, KEYS, WEIGHT, 2, length) if weighted else None
    output, probabilities = oracle(query, key, value, mask=mask, weights=table)
    torch.testing.assert_close(result.output.double(), output, rtol=0, atol=3e-6)
    torch.testing.assert_close(result.columns.double(), probabilities[..., WATCHED].mean(1), rtol=3e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(dtype):
    query, key, value = tensors(50, 50, dtype=dtype)
    pattern = Strided(7, 7)
    result = sparse_attention(query, key, value, pattern, key_weights=KeyWeights(KEYS, WEIGHT))
    table = weight_table(50, KEYS, WEIGHT, 2, 50)
    output, _ = oracle(query, key, value, mask=by_definition(pattern, 50), weights=table)
    assert result.output.dtype == dtype
    torch.testing.assert_close(result.output.double(), output, rtol=0, atol=4 * torch.finfo(dtype).eps)


def test_scale_rows_and_buffers():
    query, key, value = tensors(50, 50)
    pattern = LocalWindow(9, is_causal=False)
    rows, buffer = torch.tensor([3, 40]), torch.ones(1, 4, 2, 4)
    capture = Columns(WATCHED, reduce="none", batch_rows=slice(1, 2), query_rows=rows, into=buffer)
    weights = KeyWeights(KEYS, WEIGHT, query_rows=slice(20, 45))
    result = sparse_attention(query, key, value, pattern, scale=0.7, key_weights=weights, capture=capture)
    table = weight_table(50, KEYS, WEIGHT, 2, 50)
    table[:, :, :20], table[:, :, 45:] = 1, 1
    mask = by_definition(pattern, 50)
    output, probabilities = oracle(query, key, value, mask=mask, scale=0.7, weights=table)
    torch.testing.assert_close(result.output.double(), output, rtol=0, atol=3e-6)
    want = 1 + probabilities[1:, :, rows][..., WATCHED]
    torch.testing.assert_close(buffer.double(), want, rtol=1e-6, atol=0)


def test_blocks_in_pieces_give_the_same():
    query, key, value = tensors(1500, 1500, batch=1, heads=6, key_heads=3, dim=8)
    pattern = Strided.for_length(1500)
    whole = sparse_attention(query.requires_grad_(), key, value, pattern)
    with torch.no_grad():
        pieces = sparse_attention(query, key, value, pattern)
    torch.testing.assert_close(pieces.output, whole.output, rtol=0, atol=2e-6)


def cost(length, pattern, grad):
    query, key, value = (t.requires_grad_(grad) for t in torch.randn(3, 1, 1, length, 16))
    capture = Columns(torch.arange(8))
    with PeakMemory() as memory, FlopCounterMode(display=False) as flops:
        result = sparse_attention(query, key, value, pattern, key_weights=KeyWeights.of([3], [0.0]), capture=capture)
        if grad:
            result.output.sum().backward()
    return memory.peak, flops.get_total_flops()


@pytest.mark.parametrize(
    "make", [lambda n, root: LocalWindow(root), lambda n, root: Strided(root, root)], ids=["window", "stride"]
)
@pytest.mark.parametrize("grad", [False, True])
def test_memory_and_work_grow_as_n_sqrt_n(make, grad):
    """From 4096 to 16384 rows n * sqrt(n) grows by 8, n * n by 16."""
    small_memory, small_work = cost(4096, make(4096, 64), grad)
    large_memory, large_work = cost(16384, make(16384, 128), grad)
    assert large_memory / small_memory <= 9
    assert large_work / small_work <= 9
    assert large_memory < 16384 * 16384 * 4 / 3


@pytest.mark.parametrize("make", [lambda: LocalWindow(-1), lambda: Strided(0), lambda: Strided(3, -1)])
def test_patterns_refuse(make):
    with pytest.raises(ValueError, match=r"negative|at least"):
        make()


def test_lengths_must_agree():
    query, key, value = tensors(50, 60)
    with pytest.raises(ValueError, match="of one length"):
        sparse_attention(query, key, value, LocalWindow(3))
