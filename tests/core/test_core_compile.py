"""`torch.compile(fullgraph=True)`: traced once, whatever the weights' values."""

import shutil
import subprocess
import sys

import pytest
import torch
from test_core_attention import KEYS, WATCHED, tensors
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.functional import scaled_dot_product_attention

from promptattn.core import (
    AdditiveAttention,
    Columns,
    KeyWeights,
    MultiHeadAttention,
    Strided,
    attention,
    explain_kernel,
    sparse_attention,
)
from promptattn.core.tracing import constant_while_tracing

WILD = [[[0.0, 1e-3, -0.5, 100.0], [0.5, 0.0, 1.0, -2.0]], [[3.0, 0.0, 0.0, 7.0], [0.1, 0.2, 0.3, -0.4]]]
GENTLE = [[[2.0, 0.6, -1.5, 1.0], [1.0, 1.0, 3.0, -0.7]], [[3.0, 0.7, 0.9, 7.0], [1.1, 1.2, 1.3, -1.4]]]


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function):
    counter = CompileCounterWithBackend("aot_eager")
    return torch.compile(function, fullgraph=True, backend=counter), counter


def same(got, want):
    for ours, theirs in zip(got, want, strict=True):
        if theirs is not None:
            torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("path", "is_causal", "captured"),
    [("merge", False, True), ("merge", True, False), ("correction", True, True), ("dense", False, True)],
)
def test_one_graph_for_all_weights(path, is_causal, captured):
    query, key, value = tensors(keys=6 if path == "dense" else 300)
    keys = [0, 1, 3, 5] if path == "dense" else KEYS.tolist()
    capture = Columns(torch.tensor([0, 5])) if captured else None

    def call(key_weights):
        return attention(query, key, value, is_causal=is_causal, key_weights=key_weights, capture=capture)

    fast, counter = compiled(call)
    for values in GENTLE if path == "correction" else WILD:
        key_weights = KeyWeights.of(keys, values)
        assert explain_kernel(query, key, value, is_causal=is_causal, key_weights=key_weights).path == path
        same(fast(key_weights), call(key_weights))
    assert counter.frame_count == 1


def test_one_graph_for_weights_built_inside():
    query, key, value = tensors()

    def call(weight):
        return attention(query, key, value, key_weights=KeyWeights(KEYS, weight, query_rows=slice(0, 50)))

    fast, counter = compiled(call)
    for values in WILD + GENTLE:
        same(fast(torch.tensor(values)), call(torch.tensor(values)))
    assert counter.frame_count == 1


@pytest.mark.parametrize(
    ("masked", "key_heads", "dtype"),
    [(False, 4, torch.float32), (False, 4, torch.bfloat16), (True, 2, torch.float32)],
    ids=str,
)
def test_capture_leaves_the_compiled_output_bit_identical(masked, key_heads, dtype):
    query, key, value = tensors(key_heads=key_heads, dtype=dtype)
    mask = torch.rand(96, 300, generator=torch.Generator().manual_seed(1)) > 0.3 if masked else None
    options = {"enable_gqa": key_heads != 4}

    def stock(q, k, v):
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, **options)

    def call(q, k, v):
        return attention(q, k, v, mask=mask, capture=Columns(WATCHED), **options)

    fast, counter = compiled(call)
    output, columns = fast(query, key, value)
    assert torch.equal(output, compiled(stock)[0](query, key, value))
    same([columns], [call(query, key, value).columns])
    assert counter.frame_count == 1


def test_into_is_added_to_in_place():
    query, key, value = tensors()
    buffer = torch.zeros(2, 96, 3)
    capture = Columns(WATCHED, groups=torch.tensor([0, 1, 0, -1, 2, 2]), into=buffer)

    def call(q, key_weights):
        return attention(q, key, value, key_weights=key_weights, capture=capture).output

    fast, counter = compiled(call)
    for values in WILD:
        fast(query, KeyWeights.of(KEYS.tolist(), values))
    got, counted = buffer.clone(), counter.frame_count
    buffer.zero_()
    for values in WILD:
        call(query, KeyWeights.of(KEYS.tolist(), values))
    same([got], [buffer])
    assert counted == 1


@pytest.mark.parametrize("values", [None, GENTLE[0], WILD[0]])
def test_gradients(values):
    inputs = [tensor.requires_grad_() for tensor in tensors()]

    def call(q, k, v, weight):
        weights = None if values is None else KeyWeights(KEYS, weight, floor=0.5 if values is GENTLE[0] else None)
        output, columns = attention(q, k, v, key_weights=weights, capture=Columns(WATCHED))
        return output.sin().sum() + columns.square().sum()

    weight = torch.tensor(WILD[0] if values is None else values, requires_grad=True)
    leaves = [*inputs, *([] if values is None else [weight])]
    fast, _ = compiled(call)
    got = torch.autograd.grad(fast(*inputs, weight), leaves)
    want = torch.autograd.grad(call(*inputs, weight), leaves)
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * float(theirs.abs().max()))


def test_autocast():
    query, key, value = tensors()

    def call(key_weights):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return attention(query, key, value, key_weights=key_weights, capture=Columns(WATCHED))

    fast, _ = compiled(call)
    key_weights = KeyWeights.of(KEYS.tolist(), WILD[0])
    assert fast(key_weights).output.dtype == torch.bfloat16
    torch.testing.assert_close(fast(key_weights).columns, call(key_weights).columns, rtol=1e-3, atol=1e-6)


def test_lengths_may_be_dynamic():
    def call(query, key, value, weight):
        return attention(query, key, value, key_weights=KeyWeights(KEYS, weight), capture=Columns(WATCHED))

    weight = torch.tensor(WILD[0])
    counter = CompileCounterWithBackend("eager")
    fast = torch.compile(call, fullgraph=True, backend=counter)
    for rows, keys in ((96, 300), (128, 310)):
        inputs = tensors(rows, keys)
        for tensor in inputs:
            torch._dynamo.mark_dynamic(tensor, 2)
        same(fast(*inputs, weight), call(*inputs, weight))
    assert counter.frame_count == 1


@pytest.mark.parametrize("kind", ["multihead", "additive", "sparse"])
def test_the_other_kinds(kind):
    torch.manual_seed(0)
    states = torch.randn(2, 60, 32)
    if kind == "multihead":
        module = MultiHeadAttention(32, 4, kv_heads=2).eval()
    elif kind == "additive":
        module = AdditiveAttention(32, 32, 16)
    else:

        def module(x, **options):
            heads = x.unflatten(-1, (4, 8)).transpose(1, 2)
            return sparse_attention(heads, heads, heads, Strided(8, 8), **options)

    def call(x, key_weights):
        extra = {"key": x} if kind == "additive" else {}
        return module(x, **extra, key_weights=key_weights, capture=Columns(torch.tensor([0, 50])))

    fast, counter = compiled(call)
    for values in WILD:
        key_weights = KeyWeights.of(KEYS.tolist(), values)
        same(fast(states, key_weights), call(states, key_weights))
    assert counter.frame_count == 1


def test_marking_constants_is_what_torch_does():
    def theirs():
        pass

    def ours():
        pass

    torch.compiler.assume_constant_result(theirs)
    assert vars(constant_while_tracing(ours)) == vars(theirs) != {}


def test_importing_the_core_does_not_import_dynamo():
    code = "import sys, promptattn.core; assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="the default backend needs a C++ compiler")
def test_the_default_backend():
    query, key, value = tensors()
    key_weights = KeyWeights.of(KEYS.tolist(), WILD[0])

    def neutral(q):
        return attention(q, key, value, capture=Columns(WATCHED)), scaled_dot_product_attention(q, key, value)

    def weighted(q):
        return attention(q, key, value, key_weights=key_weights, capture=Columns(WATCHED))

    with torch.no_grad():
        (output, columns), stock = torch.compile(neutral, fullgraph=True)(query)
        assert torch.equal(output, stock)
        same([columns], [neutral(query)[0].columns])
        same(torch.compile(weighted, fullgraph=True)(query), weighted(query))
