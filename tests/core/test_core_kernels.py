"""The table of kernels: what the CPU entry returns, and that the CUDA entries fit their operators' signatures."""

import inspect
import itertools
import math
from dataclasses import replace

import pytest
import torch
from core_oracle import oracle, weight_table
from test_core_attention import tensors
from torch.nn.attention import SDPBackend

from promptattn.core import Columns, KeyWeights, attention
from promptattn.core.kernels import (
    KERNELS,
    _choice_while_tracing,
    additive_mask,
    chosen_by_sdpa,
    hidden_rows,
    run_with_lse,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("is_causal", [False, True])
def test_lse_of_the_cpu_kernel(dtype, is_causal):
    query, key, value = tensors(dtype=dtype)
    _, lse = run_with_lse(KERNELS["cpu-flash"], query, key, value, None, is_causal, None)
    logits = query.double() @ key.double().transpose(-1, -2) / 4
    if is_causal:
        logits = logits.masked_fill(~torch.ones(96, 300, dtype=torch.bool).tril(), -math.inf)
    assert lse.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    room = 2e-4 if dtype in (torch.bfloat16, torch.float16) else 2e-6
    torch.testing.assert_close(lse.double(), logits.logsumexp(-1), rtol=0, atol=room)


def test_hidden_rows_get_an_infinite_lse():
    query, key, value = tensors()
    for mask in (torch.ones(96, 300, dtype=torch.bool), torch.zeros(2, 1, 96, 300)):
        mask[..., 7, :] = False if mask.dtype == torch.bool else -math.inf
        _, lse = run_with_lse(KERNELS["cpu-flash"], query, key, value, mask, False, None)
        assert (lse == math.inf).nonzero()[:, 2].unique().tolist() == [7]
        assert hidden_rows(mask).nonzero()[:, -1].unique().tolist() == [7]


def test_additive_mask():
    assert additive_mask(torch.tensor([True, False]), torch.bfloat16).tolist() == [0.0, -math.inf]
    floating = torch.tensor([0.5])
    assert additive_mask(floating, torch.bfloat16) is floating


@pytest.mark.parametrize("weights", [None, [0.0, 2.0], [0.7, 2.0]], ids=["neutral", "merge", "correction"])
@pytest.mark.parametrize("kind", ["bool", "float"])
def test_a_kernel_that_pads_its_lse_and_leaves_nan_in_hidden_rows(weights, kind, monkeypatch):
    """What a kernel for another device may do; the CPU kernel stands in, with its results spoilt that way."""
    cpu = KERNELS["cpu-flash"]

    def forward(query, key, value, bias, is_causal, scale):
        output, lse, extras = cpu.forward(query, key, value, bias, is_causal, scale)
        hidden = (bias == -math.inf).all(-1).expand(lse.shape)
        output = output.masked_fill(hidden[..., None], math.nan)
        return output, torch.nn.functional.pad(lse.masked_fill(hidden, math.nan), (0, 32)), extras

    monkeypatch.setitem(KERNELS, "cpu-flash", replace(cpu, forward=forward))
    query, key, value = tensors()
    mask = torch.ones(96, 300, dtype=torch.bool)
    mask[7] = False
    mask[9, 2:] = False  # Row 9 sees the weighted keys only.
    mask = mask if kind == "bool" else torch.zeros(96, 300).masked_fill(~mask, -math.inf)
    key_weights = None if weights is None else KeyWeights.of([0, 1], weights)
    result = attention(query, key, value, mask=mask, key_weights=key_weights, capture=Columns(torch.arange(300)))
    table = None if weights is None else weight_table(300, torch.tensor([0, 1]), torch.tensor(weights), 2, 96)
    output, probabilities = oracle(query, key, value, mask=mask, weights=table)
    torch.testing.assert_close(result.columns.double(), probabilities.mean(1), rtol=3e-5, atol=1e-12)
    shown = [row for row in range(96) if row != 7] if weights is None else list(range(96))
    torch.testing.assert_close(result.output.double()[:, :, shown], output[:, :, shown], rtol=0, atol=3e-6)


def variants():
    """Inputs of many kinds: which of them SDPA gives to its fused kernel is its business."""
    for dtype, key_heads, grad in itertools.product((torch.float32, torch.bfloat16), (4, 2), (False, True)):
        yield [t.requires_grad_(grad) for t in tensors(dtype=dtype, key_heads=key_heads)], key_heads != 4
    query, key, value = tensors()
    yield [query, key[:1], value[:1]], False
    yield [query, key[:, :1], value[:, :1]], False
    yield [query, key[:, :2], value[:, :2]], False
    yield [query, key, torch.cat([value, value], -1)], False
    yield [query[..., ::2], key[..., ::2], value[..., ::2]], False
    yield [query.transpose(1, 2).contiguous().transpose(1, 2), key, value], False
    yield [query[0], key[0], value[0]], False
    yield [query[:, :, :0], key, value], False
    yield [query, key[:, :, :0], value[:, :, :0]], False
    yield [query.to(torch.bfloat16), key, value], False
    yield [t[..., :7].contiguous() for t in (query, key, value)], False


@pytest.mark.parametrize("case", range(len(list(variants()))))
@pytest.mark.parametrize("mask", [None, (96, 300), (2, 1, 96, 300), (1, 96, 300), "learned"], ids=str)
def test_the_choice_while_tracing_is_sdpas_own(case, mask):
    (query, key, value), gqa = list(variants())[case]
    if mask is not None:
        learned = mask == "learned"
        shape = (query.shape[-2], key.shape[-2]) if learned else (*mask[:-2], query.shape[-2], key.shape[-2])
        mask = torch.zeros(shape, dtype=query.dtype, requires_grad=learned)
    for is_causal in (False, True):
        if is_causal and mask is not None:
            continue
        try:
            want = int(torch._fused_sdp_choice(query, key, value, mask, 0.0, is_causal, enable_gqa=gqa))
        except RuntimeError:
            continue  # SDPA refuses these tensors, with a mask of this shape, altogether.
        got = _choice_while_tracing(query, key, value, mask, is_causal, gqa)
        assert got == want, (case, [t.shape for t in (query, key, value)])


def test_no_kernel_for_what_the_table_does_not_hold():
    query, key, value = (tensor.to("meta") for tensor in tensors())
    assert chosen_by_sdpa(query, key, value, None, False, None, False) is None


OPERATORS = {
    "cpu-flash": "_scaled_dot_product_flash_attention_for_cpu",
    "cuda-flash": "_scaled_dot_product_flash_attention",
    "cuda-efficient": "_scaled_dot_product_efficient_attention",
    "cuda-cudnn": "_scaled_dot_product_cudnn_attention",
}


class Recorded:
    """Stands in for `torch.ops.aten`: binds every call to the real operator's schema and answers with empty tensors."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        schema = getattr(torch.ops.aten, name).default._schema
        parameters = [
            inspect.Parameter(
                argument.name,
                inspect.Parameter.KEYWORD_ONLY if argument.kwarg_only else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=argument.default_value if argument.has_default_value() else inspect.Parameter.empty,
            )
            for argument in schema.arguments
        ]
        # "self" and friends aside, the names are Python identifiers; defaults may precede required ones in a schema.
        order = {argument.name: place for place, argument in enumerate(schema.arguments)}

        def call(*args, **kwargs):
            positional = [p.name for p in parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]
            assert len(args) <= len(positional), name
            bound = dict(zip(positional, args, strict=False))
            assert not set(kwargs) - set(order), name
            assert not set(kwargs) & set(bound), name
            bound |= kwargs
            missing = [p.name for p in parameters if p.default is inspect.Parameter.empty and p.name not in bound]
            assert not missing, (name, missing)
            self.calls.append((name, bound))
            return self.answer(name, bound, schema)

        return call

    @staticmethod
    def answer(name, bound, schema):
        query = bound["query"]
        batch, heads, rows, dim = query.shape
        padded = -(-rows // 32) * 32 if "efficient" in name else rows
        lse = torch.zeros(batch, heads, padded, *([1] if "cudnn" in name else []))
        if "backward" in name:
            like = [torch.zeros_like(bound[key]) for key in ("query", "key", "value")]
            return (*like, None)[: len(schema.returns)]
        return (torch.zeros(*query.shape[:-1], dim), lse, *range(len(schema.returns) - 2))


@pytest.mark.parametrize("name", sorted(OPERATORS))
@pytest.mark.parametrize("dim", [16, 20])
@pytest.mark.parametrize("masked", [False, True])
def test_every_entry_fits_its_operators(name, dim, masked, monkeypatch):
    """Forward and backward as they would call the operators, which the schemas accept; no GPU is asked."""
    kernel = KERNELS[name]
    if masked and not kernel.takes_mask:
        pytest.skip("this kernel takes no mask, and SDPA never chooses it with one")
    recorded = Recorded()
    monkeypatch.setattr("promptattn.core.kernels._aten", recorded)
    inputs = [tensor.requires_grad_() for tensor in tensors(rows=45, keys=50, dim=dim)]
    mask = torch.ones(45, 50, dtype=torch.bool) if masked else None
    output, lse = run_with_lse(kernel, *inputs, mask, False, None)
    assert output.shape == inputs[0].shape
    assert lse.shape == (2, 4, 45)
    gradients = torch.autograd.grad(output.sum() + lse.sum(), inputs)
    assert [g.shape for g in gradients] == [t.shape for t in inputs]
    forward, backward = recorded.calls
    assert [forward[0], backward[0]] == [OPERATORS[name], f"{OPERATORS[name]}_backward"]
    assert forward[1]["query"].shape[-1] % kernel.head_multiple == 0
    assert backward[1]["query"].shape[-1] % kernel.head_multiple == 0
    assert backward[1]["query"].shape[-1] > dim  # Room for the lse's gradient.
    assert forward[1]["scale"] in (None, dim**-0.5)
    assert backward[1]["scale"] == dim**-0.5
    if "compute_log_sumexp" in forward[1]:
        assert forward[1]["compute_log_sumexp"] is True


def test_backends_are_sdpas():
    assert {kernel.backend for kernel in KERNELS.values()} == {
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
    }
