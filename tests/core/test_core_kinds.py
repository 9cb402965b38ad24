"""Additive, dot product and multi-head attention, each against an independent oracle."""

import math

import pytest
import torch
from core_oracle import PeakMemory
from torch import nn

from promptattn.core import (
    AdditiveAttention,
    Columns,
    KeyWeights,
    LuongAttention,
    MultiHeadAttention,
    dot_product_attention,
)
from promptattn.errors import UnsupportedModelError

WEIGHTS = KeyWeights.of([1, 4, 6], [0.0, 2.5, -0.5])
TABLE = torch.tensor([1.0, 0.0, 1.0, 1.0, 2.5, 1.0, -0.5] + [1.0] * 4, dtype=torch.float64)
CAPTURE = Columns(torch.tensor([0, 1, 4, 10]))
KEYS = 11


def states(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, rows, dim, generator=generator) for rows, dim in sizes]


def explicit(scores, value, weighted, mask=None):
    """Weighted softmax of float64 scores `[batch, query, key]`, key by key."""
    table = TABLE if weighted else torch.ones(KEYS, dtype=torch.float64)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask.double()
    odds = table.abs() * torch.exp(scores)
    probabilities = odds / odds.sum(-1, keepdim=True)
    return (probabilities * table.sign()) @ value.double(), probabilities[..., CAPTURE.index]


def check(result, want):
    torch.testing.assert_close(result.output.double(), want[0], rtol=0, atol=3e-6)
    torch.testing.assert_close(result.columns.double(), want[1], rtol=3e-5, atol=0)


def mask_of(kind):
    generator = torch.Generator().manual_seed(1)
    if kind == "none":
        return None
    if kind == "padding":
        mask = torch.ones(2, 1, KEYS, dtype=torch.bool)
        mask[1, :, 8:] = False
        return mask
    if kind == "bool":
        return torch.rand(2, 7, KEYS, generator=generator) > 0.3
    return torch.randn(7, KEYS, generator=generator)


MASKS = pytest.mark.parametrize("mask", ["none", "padding", "bool", "float"])
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["neutral", "weighted"])


class TestAdditive:
    @MASKS
    @WEIGHTED
    @pytest.mark.parametrize("bias", [False, True])
    def test_equals_bahdanaus_formula(self, mask, weighted, bias):
        torch.manual_seed(3)
        module = AdditiveAttention(6, 5, 8, bias=bias)
        query, key, value = states((7, 6), (KEYS, 5), (KEYS, 4))
        w, u, v = (t.double() for t in (module.query_proj.weight, module.key_proj.weight, module.score))
        b = module.query_proj.bias.double() if bias else torch.zeros(8, dtype=torch.float64)
        scores = torch.empty(2, 7, KEYS, dtype=torch.float64)
        for i in range(7):
            for j in range(KEYS):
                scores[:, i, j] = torch.tanh(query[:, i].double() @ w.T + key[:, j].double() @ u.T + b) @ v
        result = module(
            query, key, value, mask=mask_of(mask), key_weights=WEIGHTS if weighted else None, capture=CAPTURE
        )
        check(result, explicit(scores, value, weighted, mask_of(mask)))

    def test_values_default_to_the_annotations(self):
        module = AdditiveAttention(6, 5, 8)
        query, key = states((7, 6), (KEYS, 5))
        assert torch.equal(module(query, key).output, module(query, key, key).output)
        assert module(query, key).columns is None

    def test_blocks_of_rows_give_the_same_and_bound_the_memory(self):
        module = AdditiveAttention(6, 6, 32)
        query, key = (torch.randn(1, rows, 6) for rows in (3000, 400))
        whole = module(query, key, capture=CAPTURE)  # With gradients: in one piece.
        with torch.no_grad(), PeakMemory() as memory:
            pieces = module(query, key, capture=CAPTURE)
        torch.testing.assert_close(pieces.output, whole.output, rtol=0, atol=1e-6)
        torch.testing.assert_close(pieces.columns, whole.columns, rtol=1e-5, atol=0)
        assert memory.peak < 3000 * 400 * 32 * 4 / 4

    def test_half_precision_scores_are_float32(self):
        module = AdditiveAttention(6, 5, 8)
        query, key = states((7, 6), (KEYS, 5))
        low = AdditiveAttention(6, 5, 8).bfloat16()
        low.load_state_dict({name: tensor.bfloat16() for name, tensor in module.state_dict().items()})
        module.load_state_dict({name: tensor.float() for name, tensor in low.state_dict().items()})
        got = low(query.bfloat16(), key.bfloat16(), capture=CAPTURE)
        want = module(query.bfloat16().float(), key.bfloat16().float(), capture=CAPTURE)
        assert got.output.dtype == torch.bfloat16
        torch.testing.assert_close(got.columns, want.columns, rtol=1e-6, atol=0)


class TestDotProduct:
    @MASKS
    @WEIGHTED
    def test_equals_unscaled_softmax(self, mask, weighted):
        query, key, value = states((7, 6), (KEYS, 6), (KEYS, 4))
        result = dot_product_attention(
            query, key, value, mask=mask_of(mask), key_weights=WEIGHTS if weighted else None, capture=CAPTURE
        )
        scores = torch.einsum("bid,bjd->bij", query.double(), key.double())
        check(result, explicit(scores, value, weighted, mask_of(mask)))

    @MASKS
    @WEIGHTED
    @pytest.mark.parametrize("score", ["dot", "general", "concat"])
    def test_luongs_scores(self, mask, weighted, score):
        torch.manual_seed(3)
        key_dim = 6 if score == "dot" else 5
        module = LuongAttention(6, key_dim, score=score)
        query, key, value = states((7, 6), (KEYS, key_dim), (KEYS, 4))
        h, s = query.double(), key.double()
        if score == "dot":
            scores = torch.einsum("bid,bjd->bij", h, s)
        elif score == "general":
            scores = torch.einsum("bid,de,bje->bij", h, module.projection.weight.double(), s)
        else:
            joint = torch.cat([module.alignment.query_proj.weight, module.alignment.key_proj.weight], 1).double()
            pairs = torch.cat([h[:, :, None].expand(-1, -1, KEYS, -1), s[:, None].expand(-1, 7, -1, -1)], -1)
            scores = torch.tanh(pairs @ joint.T) @ module.alignment.score.double()
        result = module(
            query, key, value, mask=mask_of(mask), key_weights=WEIGHTS if weighted else None, capture=CAPTURE
        )
        check(result, explicit(scores, value, weighted, mask_of(mask)))

    def test_refuses(self):
        with pytest.raises(ValueError, match='use "general"'):
            LuongAttention(6, 5, score="dot")
        with pytest.raises(ValueError, match="must be"):
            LuongAttention(6, 5, score="cosine")


class TestMultiHead:
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("kind", ["self", "cross", "cross of other sizes"])
    @pytest.mark.parametrize("mask", ["none", "bool", "causal"])
    @pytest.mark.parametrize("batch_first", [False, True])
    def test_equals_torchs(self, bias, kind, mask, batch_first):
        torch.manual_seed(0)
        sizes = {"kdim": 6, "vdim": 10} if kind == "cross of other sizes" else {}
        theirs = nn.MultiheadAttention(32, 4, bias=bias, batch_first=batch_first, **sizes).eval()
        if bias:
            nn.init.normal_(theirs.in_proj_bias)
            nn.init.normal_(theirs.out_proj.bias)
        ours = MultiHeadAttention.from_torch(theirs)
        query, key, value = states((KEYS, 32), (KEYS, sizes.get("kdim", 32)), (KEYS, sizes.get("vdim", 32)))
        inputs = (query,) if kind == "self" else (query, key, value)
        shown = None if mask == "none" else torch.ones(KEYS, KEYS, dtype=torch.bool).tril()
        if mask == "bool":
            shown = torch.rand(KEYS, KEYS, generator=torch.Generator().manual_seed(1)) > 0.3
        triple = [t if batch_first else t.transpose(0, 1) for t in (inputs * 3 if kind == "self" else inputs)]
        want, probabilities = theirs(*triple, attn_mask=None if shown is None else ~shown)
        options = {"is_causal": True} if mask == "causal" else {"mask": shown}
        result = ours(*inputs, **options, capture=Columns(torch.arange(KEYS)))
        torch.testing.assert_close(result.output, want if batch_first else want.transpose(0, 1), rtol=0, atol=2e-6)
        torch.testing.assert_close(result.columns, probabilities, rtol=0, atol=2e-6)

    def test_equals_torchs_gradients_and_padding(self):
        torch.manual_seed(0)
        theirs = nn.MultiheadAttention(32, 4, batch_first=True)
        ours = MultiHeadAttention.from_torch(theirs)
        (query,) = states((KEYS, 32))
        padding = torch.ones(2, KEYS, dtype=torch.bool)
        padding[1, 7:] = False
        theirs(query, query, query, key_padding_mask=~padding)[0].square().sum().backward()
        ours(query, mask=padding[:, None, None, :]).output.square().sum().backward()
        packed = torch.cat([layer.weight.grad for layer in (ours.query_proj, ours.key_proj, ours.value_proj)])
        torch.testing.assert_close(packed, theirs.in_proj_weight.grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.out_proj.weight.grad, theirs.out_proj.weight.grad, rtol=1e-4, atol=1e-4)

    def test_from_torch_copies(self):
        theirs = nn.MultiheadAttention(32, 4, dropout=0.25, dtype=torch.float64).eval()
        ours = MultiHeadAttention.from_torch(theirs)
        assert ours.dropout == 0.25
        assert not ours.training
        assert ours.out_proj.weight.dtype == torch.float64
        ours.out_proj.weight.data.zero_()
        assert theirs.out_proj.weight.abs().sum() > 0

    @pytest.mark.parametrize("options", [{"add_bias_kv": True}, {"add_zero_attn": True}])
    def test_from_torch_refuses_appended_keys(self, options):
        with pytest.raises(UnsupportedModelError, match="appends keys"):
            MultiHeadAttention.from_torch(nn.MultiheadAttention(32, 4, **options))

    @pytest.mark.parametrize("kv_heads", [1, 2, 4])
    @WEIGHTED
    def test_grouped_and_multi_query(self, kv_heads, weighted):
        """One key head serves num_heads / kv_heads query heads: the formula written out head by head."""
        torch.manual_seed(0)
        module = MultiHeadAttention(32, 4, kv_heads=kv_heads, key_dim=10, value_dim=12).double()
        query, key, value = (t.double() for t in states((7, 32), (KEYS, 10), (KEYS, 12)))
        q, k, v = module.query_proj(query), module.key_proj(key), module.value_proj(value)
        assert k.shape[-1] == 8 * kv_heads
        outputs, columns = [], []
        for head in range(4):
            group = head // (4 // kv_heads)
            mine, theirs = slice(8 * head, 8 * head + 8), slice(8 * group, 8 * group + 8)
            scores = q[..., mine] @ k[..., theirs].transpose(-1, -2) / 8**0.5
            output, watched = explicit(scores, v[..., theirs], weighted)
            outputs.append(output)
            columns.append(watched)
        result = module(query, key, value, key_weights=WEIGHTS if weighted else None, capture=CAPTURE)
        torch.testing.assert_close(result.output, module.out_proj(torch.cat(outputs, -1)), rtol=0, atol=1e-6)
        torch.testing.assert_close(result.columns, torch.stack(columns).mean(0), rtol=1e-6, atol=0)

    def test_dropout_only_while_training(self):
        module = MultiHeadAttention(32, 4, dropout=0.5)
        (query,) = states((KEYS, 32))
        assert not torch.equal(module(query).output, module(query).output)
        module.eval()
        assert torch.equal(module(query).output, module(query).output)

    @pytest.mark.parametrize("heads", [(5, None), (4, 3)])
    def test_refuses(self, heads):
        with pytest.raises(ValueError, match="multiple"):
            MultiHeadAttention(32, heads[0], kv_heads=heads[1])
