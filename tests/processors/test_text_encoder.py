import pytest
import tiny_pipelines as tiny
import torch

from promptattn.errors import UnsupportedModelError, WeightingError
from promptattn.processors import TextEncoderAttention

IDS = torch.arange(3, 15)[None]


def reference(encoder, ids, weights):
    """The encoder's layers in float64, attention written out: weights multiply the odds of every key."""
    encoder = encoder.double()
    hidden = encoder.embeddings(input_ids=ids)
    causal = torch.ones(ids.shape[1], ids.shape[1]).tril().bool()
    maps = []
    for layer in encoder.encoder.layers:
        attention, normed = layer.self_attn, layer.layer_norm1(hidden)
        query, key, value = (
            project(normed).view(1, -1, attention.num_heads, attention.head_dim).transpose(1, 2)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        odds = (query @ key.mT * attention.scale).masked_fill(~causal, -torch.inf).exp() * weights.abs()
        mass = odds / odds.sum(-1, keepdim=True)
        maps.append(mass.mean(1))
        output = ((mass * weights.sign()) @ value).transpose(1, 2).flatten(2)
        hidden = hidden + attention.out_proj(output)
        hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
    return encoder.final_layer_norm(hidden), torch.stack(maps, 1)


@torch.no_grad()
@pytest.mark.parametrize("record", [False, True])
def test_neutral_is_bit_identical_with_and_without_recording(record):
    encoder = tiny.clip_text()
    stock = encoder(IDS).last_hidden_state
    with TextEncoderAttention(encoder) as attention:
        attention.record = record
        assert torch.equal(encoder(IDS).last_hidden_state, stock)
    assert len(attention.maps) == record


@torch.no_grad()
@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0, 40.0, -1.0])
def test_weights_and_maps_equal_a_float64_encoder(weight):
    encoder = tiny.clip_text()
    weights = torch.ones(1, 12).index_fill(1, torch.tensor([4, 5]), weight)
    with TextEncoderAttention(encoder) as attention:
        attention.weights, attention.record = weights, True
        output = encoder(IDS).last_hidden_state
    expected, maps = reference(encoder, IDS, weights)
    torch.testing.assert_close(output.double(), expected, rtol=0, atol=5e-5)
    torch.testing.assert_close(attention.maps[0].double(), maps, rtol=0, atol=5e-6)


@torch.no_grad()
def test_the_implementation_is_restored_under_exceptions_and_nesting():
    encoder = tiny.clip_text()
    stock = encoder(IDS).last_hidden_state
    before = encoder.config._attn_implementation
    with pytest.raises(KeyboardInterrupt), TextEncoderAttention(encoder), TextEncoderAttention(encoder):
        raise KeyboardInterrupt
    assert encoder.config._attn_implementation == before
    assert not encoder._forward_pre_hooks
    assert not encoder._forward_hooks
    assert torch.equal(encoder(IDS).last_hidden_state, stock)


def test_weights_of_another_shape_are_refused_with_both_shapes():
    encoder = tiny.clip_text()
    with TextEncoderAttention(encoder) as attention:
        attention.weights = torch.ones(1, 5)
        with pytest.raises(WeightingError, match=r"\(1, 12\).*\(1, 5\)"):
            encoder(IDS)


def test_an_encoder_without_the_interface_is_refused_by_name():
    with pytest.raises(UnsupportedModelError, match="Linear"):
        TextEncoderAttention(torch.nn.Linear(2, 2)).attach()
