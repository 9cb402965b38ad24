"""Which path a call takes: fused where promised, never the dense fallback by surprise, and never n x n."""

import subprocess
import sys
from importlib import import_module

import pytest
import torch
from test_core_attention import tensors
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from promptattn.core import Columns, KeyWeights, attention, explain_kernel

WATCHED = Columns(torch.tensor([0, 5]))
GENTLE = KeyWeights.of([3], [1.4])
WILD = KeyWeights.of([3], [0.0])
UNKNOWN = KeyWeights(torch.tensor([3]), torch.ones(1))
MOST = KeyWeights.of(list(range(60)), [1.4] * 60)
MASK = torch.ones(96, 300, dtype=torch.bool)


@pytest.mark.parametrize(
    ("keys", "options", "path"),
    [
        (300, {}, "sdpa"),
        (300, {"key_weights": KeyWeights.of([3], [1.0])}, "sdpa"),
        (300, {"capture": WATCHED}, "fused+lse"),
        (300, {"capture": WATCHED, "mask": MASK}, "fused+lse"),
        (300, {"capture": WATCHED, "mask": MASK.float()}, "fused+lse"),
        (300, {"capture": WATCHED, "mask": MASK[None].expand(4, -1, -1)}, "sdpa+lse"),
        (300, {"capture": WATCHED, "is_causal": True}, "fused+lse"),
        (300, {"capture": WATCHED, "scale": 0.5}, "fused+lse"),
        (300, {"capture": WATCHED, "dropout_p": 0.1}, "sdpa+lse"),
        (77, {"capture": WATCHED, "dropout_p": 0.1}, "sdpa+dense"),
        (77, {"capture": WATCHED}, "fused+lse"),
        (77, {"key_weights": GENTLE}, "correction"),
        (77, {"key_weights": WILD}, "merge"),
        (77, {"key_weights": MOST}, "dense"),
        (300, {"key_weights": GENTLE}, "correction"),
        (300, {"key_weights": GENTLE, "mask": MASK}, "correction"),
        (300, {"key_weights": GENTLE, "is_causal": True}, "correction"),
        (300, {"key_weights": WILD}, "merge"),
        (300, {"key_weights": WILD, "mask": MASK}, "merge"),
        (300, {"key_weights": WILD, "mask": MASK[None].expand(4, -1, -1)}, "merge"),
        (300, {"key_weights": WILD, "is_causal": True}, "merge"),
        (300, {"key_weights": WILD, "capture": WATCHED}, "merge"),
        (300, {"key_weights": UNKNOWN}, "merge"),
        (300, {"key_weights": MOST}, "correction"),
        (300, {"key_weights": WILD, "dropout_p": 0.1}, "dense"),
        (300, {"key_weights": WILD, "is_causal": True, "scale": -1.0}, "dense"),
    ],
)
def test_paths(keys, options, path):
    inputs = tensors(keys=keys)
    options = {name: v[..., :keys] if name == "mask" else v for name, v in options.items()}
    explained = explain_kernel(*inputs, **options)
    assert explained.path == path, explained
    assert explained.reason
    fused = path in ("fused+lse", "sdpa+lse", "merge", "correction")
    assert not fused or explained.kernel == "cpu-flash"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_every_dtype_is_fused_with_and_without_gradients(dtype, grad, key_heads):
    inputs = [tensor.requires_grad_(grad) for tensor in tensors(dtype=dtype, key_heads=key_heads)]
    options = {"enable_gqa": key_heads != 4, "capture": WATCHED}
    assert explain_kernel(*inputs, **options).path == "fused+lse"
    assert explain_kernel(*inputs, **options, key_weights=WILD).path == "merge"
    assert explain_kernel(*inputs, **options, key_weights=GENTLE).path == "correction"


def test_a_forced_backend_is_respected():
    inputs = tensors()
    with sdpa_kernel(SDPBackend.MATH):
        assert explain_kernel(*inputs, capture=WATCHED).path == "sdpa+dense"
        assert explain_kernel(*inputs, key_weights=WILD).path == "dense"
        stock = scaled_dot_product_attention(*inputs)
        watched = attention(*inputs, capture=WATCHED)
        weighted = attention(*inputs, key_weights=WILD).output
    assert torch.equal(watched.output, stock)
    torch.testing.assert_close(watched.columns, attention(*inputs, capture=WATCHED).columns, rtol=1e-5, atol=0)
    torch.testing.assert_close(weighted, attention(*inputs, key_weights=WILD).output, rtol=0, atol=2e-6)


def test_the_path_is_decided_without_looking_at_the_values():
    """On the meta device there are none."""
    inputs = [tensor.to("meta") for tensor in tensors()]
    weights = KeyWeights(torch.empty(2, dtype=torch.int64, device="meta"), torch.empty(2, device="meta"))
    assert explain_kernel(*inputs, key_weights=weights).path == "dense"
    result = attention(*inputs, key_weights=weights, capture=Columns(torch.empty(3, dtype=torch.int64, device="meta")))
    assert result.output.shape == (2, 4, 96, 16)
    assert result.columns.shape == (2, 96, 3)


def test_the_fused_operators_run(monkeypatch):
    """What explain_kernel says is what happens: the kernel is called once, and SDPA only where it should be."""
    # By name: the package's attribute `attention` is the function.
    entry, kernels = (import_module(f"promptattn.core.{name}") for name in ("attention", "kernels"))
    calls = []
    forward = kernels._forward
    monkeypatch.setattr(kernels, "_forward", lambda *a: calls.append("kernel") or forward(*a))
    stock = entry.scaled_dot_product_attention
    monkeypatch.setattr(entry, "scaled_dot_product_attention", lambda *a, **k: calls.append("sdpa") or stock(*a, **k))
    inputs = tensors()
    expected = {
        "sdpa": ({}, ["sdpa"]),
        "fused+lse": ({"capture": WATCHED}, ["kernel"]),
        "sdpa+lse": ({"capture": WATCHED, "dropout_p": 0.1}, ["sdpa", "kernel"]),
        "merge": ({"key_weights": WILD}, ["kernel"]),
        "correction": ({"key_weights": GENTLE}, ["kernel"]),
        "dense": ({"key_weights": WILD, "dropout_p": 0.1}, []),
    }
    for path, (options, want) in expected.items():
        calls.clear()
        attention(*inputs, **options)
        assert explain_kernel(*inputs, **options).path == path
        assert calls == want


MEMORY = """
import resource, torch
from promptattn.core import Columns, KeyWeights, attention
torch.set_num_threads(1)
keys = list(range(5, 13))
wild = KeyWeights.of(keys, [0.0, 2.0, -1.0, 0.1, 3.0, 0.5, 1.0, 1.2])
gentle = KeyWeights.of(keys, [2.0] * 8)
def run(n):
    q, k, v = torch.randn(3, 1, 1, n, 16, generator=torch.Generator().manual_seed(0))
    for options in ({}, {"key_weights": gentle}, {"key_weights": wild}, {"key_weights": wild, "is_causal": True}):
        with torch.no_grad():
            attention(q, k, v, capture=Columns(torch.tensor(keys)), **options)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
run(512)
run(16384)
"""


def test_memory_at_16384_rows_with_8_columns():
    """Watching, correcting, merging and merging under causality, each far below one n x n table of float32."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, timeout=300)
    figures = [int(line) for line in done.stdout.split()]
    growth = [figure - figures[3] for figure in figures[4:]]
    assert max(growth) < 16384 * 16384 * 4 / 20, growth
