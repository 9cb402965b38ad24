"""T5 and UMT5: bidirectional, unscaled, with a position bias that is part of the scores."""

import pytest
import tiny_pipelines as tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from promptattn.errors import UnsupportedModelError
from promptattn.processors import TextEncoderAttention
from promptattn.processors.text_encoder import IMPLEMENTATION

KINDS = ["t5", "umt5"]
LENGTH = 12
IDS = torch.stack([torch.arange(3, 3 + LENGTH), torch.arange(20, 20 + LENGTH)])
PADDED = torch.ones(2, LENGTH).long().index_put((torch.tensor([0, 0, 1]), torch.tensor([10, 11, 11])), torch.tensor(0))


def reference(encoder, ids, *, weights=None, keys=None, visible=None):
    """The encoder's layers in float64, attention written out.

    weights `[batch, token]` multiply the odds of a key; keys lists the keys that exist (leave one out to delete it,
    name one twice to duplicate it, with its value and its position); visible is the attention mask.
    """
    encoder = encoder.double()
    keys = torch.arange(ids.shape[1]) if keys is None else keys
    odds = (torch.ones(ids.shape) if weights is None else weights).double()
    seen = torch.ones(ids.shape) if visible is None else visible
    hidden, bias, maps = encoder.shared(ids), None, []
    for block in encoder.encoder.block:
        attention, normed = block.layer[0].SelfAttention, block.layer[0].layer_norm(hidden)
        if attention.has_relative_attention_bias:
            bias = attention.compute_bias(ids.shape[1], ids.shape[1])[..., keys]
        query, key, value = (
            project(rows).unflatten(-1, (attention.n_heads, -1)).transpose(1, 2)
            for project, rows in (
                (attention.q, normed),
                (attention.k, normed[:, keys]),
                (attention.v, normed[:, keys]),
            )
        )
        factor = (odds.abs() * seen)[:, keys][:, None, None]
        likelihood = (query @ key.mT + bias).exp() * factor
        mass = likelihood / likelihood.sum(-1, keepdim=True)
        maps.append(mass.mean(1))
        output = (mass * odds.sign()[:, keys][:, None, None]) @ value
        hidden = hidden + attention.o(output.transpose(1, 2).flatten(2))
        hidden = block.layer[1](hidden)
    return encoder.encoder.final_layer_norm(hidden), torch.stack(maps, 1)


def weighted(*pairs):
    """Weights `[2, token]` of 1 but for the given ones, in the first row; half as far from 1 in the second."""
    weights = torch.ones(2, LENGTH)
    for place, weight in pairs:
        weights[:, place] = torch.tensor([weight, 1 + (weight - 1) / 2])
    return weights


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("mask", [None, PADDED], ids=["all", "padded"])
@pytest.mark.parametrize("kind", KINDS)
def test_neutral_is_bit_identical_with_and_without_recording(kind, mask, dtype):
    encoder = tiny.t5_text(kind=kind).to(dtype)
    stock = encoder(IDS, attention_mask=mask).last_hidden_state
    with TextEncoderAttention(encoder) as attention:
        assert torch.equal(encoder(IDS, attention_mask=mask).last_hidden_state, stock)
        attention.record = True
        assert torch.equal(encoder(IDS, attention_mask=mask).last_hidden_state, stock)
        attention.weights = torch.ones(2, LENGTH)
        close = dict(rtol=0, atol=16 * torch.finfo(dtype).eps)
        torch.testing.assert_close(encoder(IDS, attention_mask=mask).last_hidden_state, stock, **close)
    assert len(attention.maps) == 2
    assert torch.equal(encoder(IDS, attention_mask=mask).last_hidden_state, stock)


@torch.no_grad()
def test_a_long_window_is_bit_identical_too():
    """Above 128 keys the core takes its fused path, which must be the library's own."""
    encoder = tiny.t5_text()
    ids = torch.arange(256)[None] % 50
    stock = encoder(ids).last_hidden_state
    with TextEncoderAttention(encoder) as attention:
        attention.record = True
        assert torch.equal(encoder(ids).last_hidden_state, stock)
    torch.testing.assert_close(attention.maps[0].double(), reference(encoder, ids)[1], rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("weights", [None, weighted((4, 2.0))], ids=["plain", "weighted"])
@pytest.mark.parametrize("mask", [None, PADDED], ids=["all", "padded"])
def test_some_tokens_are_recorded_as_all_of_them_are(mask, weights):
    encoder = tiny.t5_text()
    tokens = torch.tensor([0, 4, 5, 9])
    with TextEncoderAttention(encoder) as attention:
        attention.weights, attention.record, attention.tokens = weights, True, tokens
        output = encoder(IDS, attention_mask=mask).last_hidden_state
        attention.tokens = None
        assert torch.equal(encoder(IDS, attention_mask=mask).last_hidden_state, output)
    some, every = attention.maps
    torch.testing.assert_close(some, every[:, :, tokens][..., tokens], rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0, 60.0, -1.0])
@pytest.mark.parametrize("mask", [None, PADDED], ids=["all", "padded"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_maps_equal_a_float64_encoder(kind, mask, weight):
    encoder = tiny.t5_text(kind=kind)
    weights = weighted((4, weight), (5, weight))
    with TextEncoderAttention(encoder) as attention:
        attention.weights, attention.record = weights, True
        output = encoder(IDS, attention_mask=mask).last_hidden_state
    expected, maps = reference(encoder, IDS, weights=weights, visible=mask)
    torch.testing.assert_close(output.double(), expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(attention.maps[0].double(), maps, rtol=0, atol=2e-6)


@torch.no_grad()
@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([0.0, -0.5, 0.25, 1.0, 3.0]), min_size=LENGTH, max_size=LENGTH))
def test_any_weights_equal_a_float64_encoder(values):
    encoder = tiny.t5_text()
    weights = torch.tensor([values, values[::-1]])
    weights[:, -1] = 1.0  # the end of the text: in a prompt it has no weight, so no row loses its last key
    with TextEncoderAttention(encoder) as attention:
        attention.weights = weights
        output = encoder(IDS).last_hidden_state
    torch.testing.assert_close(output.double(), reference(encoder, IDS, weights=weights)[0], rtol=0, atol=5e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_zero_deletes_the_key(kind):
    encoder = tiny.t5_text(kind=kind)
    weights = torch.ones(2, LENGTH).index_fill(1, torch.tensor([4, 7]), 0.0)
    masked = encoder(IDS, attention_mask=weights.long()).last_hidden_state
    with TextEncoderAttention(encoder) as attention:
        attention.weights = weights
        output = encoder(IDS).last_hidden_state
    torch.testing.assert_close(output, masked, rtol=0, atol=1e-5)
    kept = torch.tensor([key for key in range(LENGTH) if key not in (4, 7)])
    torch.testing.assert_close(output.double(), reference(encoder, IDS, keys=kept)[0], rtol=0, atol=2e-5)


@torch.no_grad()
@pytest.mark.parametrize("times", [2, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_weight_writes_the_key_so_many_times(kind, times):
    encoder = tiny.t5_text(kind=kind)
    with TextEncoderAttention(encoder) as attention:
        attention.weights = torch.ones(2, LENGTH).index_fill(1, torch.tensor([3]), float(times))
        output = encoder(IDS).last_hidden_state
    keys = torch.tensor([*range(LENGTH), *[3] * (times - 1)])
    torch.testing.assert_close(output.double(), reference(encoder, IDS, keys=keys)[0], rtol=0, atol=2e-5)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("weight", [0.0, 0.5, 8.0, -1.0])
def test_low_precision_stays_as_near_as_the_stock_encoder(weight, dtype):
    encoder, weights = tiny.t5_text().to(dtype), weighted((4, weight))
    stock = encoder(IDS).last_hidden_state.double()
    with TextEncoderAttention(encoder) as attention:
        attention.weights, attention.record = weights, True
        output = encoder(IDS).last_hidden_state
    assert output.dtype == dtype
    assert attention.maps[0].dtype == torch.float32
    rounding = (stock - reference(encoder, IDS)[0]).abs().max()
    expected, maps = reference(encoder, IDS, weights=weights)
    assert (output.double() - expected).abs().max() < 2 * rounding
    torch.testing.assert_close(attention.maps[0].double(), maps, rtol=0, atol=8 * torch.finfo(dtype).eps)


@torch.no_grad()
def test_keys_hidden_by_the_mask_stay_hidden_when_all_others_are_weighted_away():
    encoder, visible = tiny.t5_text(), torch.ones(2, LENGTH).long()
    visible[:, 6:] = 0
    with TextEncoderAttention(encoder) as attention:
        attention.weights, attention.record = 1.0 - visible, True
        output = encoder(IDS, attention_mask=visible).last_hidden_state
    assert output.isfinite().all()
    assert (attention.maps[0] == 0).all()


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_the_implementation_is_restored_in_every_part(kind):
    encoder = tiny.t5_text(kind=kind)

    def implementations():
        return {m.config._attn_implementation for m in encoder.modules() if hasattr(m, "config")}

    assert implementations() == {"sdpa"}
    with TextEncoderAttention(encoder):
        assert implementations() == {IMPLEMENTATION}
    assert implementations() == {"sdpa"}
    assert not encoder._forward_pre_hooks
    assert not encoder._forward_hooks


@torch.no_grad()
def test_capped_scores_are_refused_by_name():
    import transformers

    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4, head_dim=8)
    model = transformers.Gemma2Model(
        transformers.Gemma2Config(**sizes, num_key_value_heads=2, vocab_size=64, pad_token_id=0)
    ).eval()
    stock = model.config._attn_implementation
    with pytest.raises(UnsupportedModelError, match=r"Gemma2.*softcap"):
        TextEncoderAttention(model).attach()
    assert model.config._attn_implementation == stock
