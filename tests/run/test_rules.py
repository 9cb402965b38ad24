"""Prompt-to-Prompt and NegPip in pipelines, against attention written out plainly."""

import diffusers
import pytest
import test_joint_weights as joint
import tiny_pipelines as tiny
import torch
from joint_reference import joint_layers
from reference import cross_layers, recorded
from rule_reference import RuleFluxProcessor, RuleJointProcessor, RuleProcessor
from test_attend import NEGATIVE, generate
from test_joint import LENGTH
from test_joint import generate as generate_jointly

import promptattn
from promptattn.errors import ConfigError, UnsupportedModelError
from promptattn.processors import processors_for
from promptattn.weighting import EmbeddingWeighting, Weighting

RULES = pytest.mark.parametrize("rule", ["prompt-to-prompt", "negpip"])
WEIGHTED, CLEAN = "a (red:1.6) cat and a (gray:-0.8) (mouse:0)", "a red cat and a gray mouse"
NEGATIVE_WEIGHTED = "ugly, (blurry:2)"
WEIGHTS = dict(red=1.6, gray=-0.8, mouse=0.0)


@pytest.fixture(params=list(tiny.PIPELINES))
def pipe(request):
    # Random denoisers blow rounding up; in float64 nothing of it is left.
    return tiny.PIPELINES[request.param]().to(torch.float64)


def token_weights(pipe, prompt):
    """float32 `[1, token]`, as the prompt says them."""
    return torch.tensor([promptattn.plan(pipe, prompt).encoders[0].weights])


def reference(pipe, rule, weights, layers=("",), **options):
    """The image of the clean text, with the rule written out in cross-attention layers."""
    stock = dict(pipe.unet.attn_processors)
    named = [name for name in cross_layers(pipe.unet) if name.startswith(tuple(layers))]
    pipe.unet.set_attn_processor({**stock, **{f"{name}.processor": RuleProcessor(rule, weights) for name in named}})
    try:
        return generate(pipe, CLEAN, **options)
    finally:
        pipe.unet.set_attn_processor(stock)


def same(got, want, other):
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(got, other, rtol=1e-3)


@RULES
def test_equal_to_the_rule_written_out(pipe, rule):
    weights = torch.cat([token_weights(pipe, NEGATIVE_WEIGHTED), token_weights(pipe, WEIGHTED)])
    stock = generate(pipe, CLEAN, negative_prompt=NEGATIVE)
    with promptattn.attend(pipe, WEIGHTED, NEGATIVE_WEIGHTED, weighting=rule) as run:
        ours = generate(pipe, **run.inputs)
    same(ours, reference(pipe, rule, weights, negative_prompt=NEGATIVE), stock)
    assert torch.equal(generate(pipe, CLEAN, negative_prompt=NEGATIVE), stock)


def test_negpip_of_weights_above_0_is_scaling_of_the_embedding(pipe):
    """What the rule says of keys and values, against rows of the text that are as many times as long."""
    prompt, images = "a (red:1.5) cat and a (gray:0.25) (mouse:0)", {}  # numbers that float32 holds exactly
    for method in (Weighting(rule="negpip"), EmbeddingWeighting("a1111", restore_mean=False)):
        with promptattn.attend(pipe, prompt, weighting=method, capture=False) as run:
            images[method.name] = generate(pipe, **run.inputs, guidance=1.0)
    torch.testing.assert_close(images["negpip"], images["a1111"], rtol=1e-9, atol=1e-9)


@RULES
def test_without_guidance_and_in_some_layers(pipe, rule):
    stock = generate(pipe, CLEAN, guidance=1.0)
    method = Weighting("denoiser", "exact", rule)
    with promptattn.attend(pipe, WEIGHTED, weighting=method, layers="up_blocks", capture=False) as run:
        ours = generate(pipe, **run.inputs, guidance=1.0)
    expected = reference(pipe, rule, token_weights(pipe, WEIGHTED), ["up_blocks"], guidance=1.0)
    same(ours, expected, stock)
    everywhere = reference(pipe, rule, token_weights(pipe, WEIGHTED), guidance=1.0)
    assert not torch.allclose(expected, everywhere, rtol=1e-3)


@RULES
def test_in_the_first_half_of_the_steps(rule):
    """One step of four weighted is neither none nor all of them, and steps of a fraction are those of their numbers."""
    pipe = tiny.sd().to(torch.float64)

    def image(steps):
        with promptattn.attend(pipe, WEIGHTED, weighting=rule, steps=steps, capture=False) as run:
            return generate(pipe, **run.inputs, steps=4)

    half, whole = image((0.0, 0.5)), image(None)
    torch.testing.assert_close(half, image([0, 1]), rtol=0, atol=0)
    assert not torch.allclose(half, whole, rtol=1e-3)
    assert not torch.allclose(half, generate(pipe, CLEAN, steps=4), rtol=1e-3)


@RULES
def test_weights_of_one_are_the_stock_image_to_the_bit(rule):
    pipe = tiny.sd()
    stock = generate(pipe, CLEAN, negative_prompt=NEGATIVE)
    with promptattn.attend(pipe, "a (red:1.0) cat and a gray mouse", NEGATIVE, weighting=rule) as run:
        assert torch.equal(generate(pipe, **run.inputs), stock)


def test_maps_of_prompt_to_prompt_are_those_that_were_multiplied():
    """The first layer's at the first step: nothing before it has been weighted yet, so it is the stock map."""
    pipe = tiny.sd()
    with recorded(pipe.unet) as calls:
        generate(pipe, CLEAN, guidance=1.0, steps=1)
    with promptattn.attend(pipe, WEIGHTED, weighting="prompt-to-prompt") as run:
        generate(pipe, **run.inputs, guidance=1.0, steps=1)
    first = run.maps.records[0]
    expected = calls[0][first.name][0, :, 2]  # "red"
    column = [info.token for info in run.maps.prompts[0].columns].index(1)
    mass = torch.from_numpy(first.mass)[0].flatten(0, 1)[:, column]
    torch.testing.assert_close(mass.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rows", ["image", "all"])
@pytest.mark.parametrize("kind", list(tiny.JOINT_PIPELINES))
def test_prompt_to_prompt_in_joint_attention(kind, rows):
    pipe = tiny.JOINT_PIPELINES[kind]()
    plain = generate_jointly(pipe, CLEAN, NEGATIVE)
    with promptattn.attend(
        pipe, WEIGHTED, NEGATIVE_WEIGHTED, weighting="prompt-to-prompt", rows=rows, capture=False,
        max_sequence_length=LENGTH,
    ) as run:  # fmt: skip
        ours = generate_jointly(pipe, **run.inputs, guidance=4.0)
    weights = joint.odds_of(pipe, kind, CLEAN, WEIGHTS), joint.odds_of(pipe, kind, NEGATIVE, dict(blurry=2.0))
    calls = [-1]

    def begin(*args):
        calls[0] += 1

    pipe.transformer.register_forward_pre_hook(begin)
    cls = RuleFluxProcessor if kind == "flux" else RuleJointProcessor
    for layer in joint_layers(pipe.transformer).values():
        layer.set_processor(cls(lambda: joint.schedule(kind, *weights)(calls[0]), rows, LENGTH))
    expected = generate_jointly(pipe, CLEAN, NEGATIVE)
    joint.agree(ours, expected)
    assert (expected - plain).abs().max() > 1e-2 * plain.abs().max()


@pytest.mark.parametrize(("kind", "why"), [("sd3", "its keys are normalised"), ("flux", "its keys are normalised")])
def test_negpip_is_refused_where_keys_are_normalised(kind, why):
    pipe = tiny.JOINT_PIPELINES[kind]()
    stock = {name: layer.processor for name, layer in joint_layers(pipe.transformer).items()}
    with pytest.raises(UnsupportedModelError, match=rf'"negpip" has no meaning .*{why}.* use weighting="attention"'):
        promptattn.attend(pipe, "a (red:1.5) cat", weighting="negpip").__enter__()
    assert {name: layer.processor for name, layer in joint_layers(pipe.transformer).items()} == stock
    with promptattn.attend(pipe, "a red cat", weighting="negpip", max_sequence_length=LENGTH):
        pass  # nothing to weigh, nothing to refuse


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (dict(qk_norm="layer_norm"), "keys are normalised"),
        (dict(cross_attention_norm="layer_norm"), "text is normalised before"),
    ],
)
def test_negpip_is_refused_in_cross_attention_that_normalises(options, why):
    pipe = tiny.sd()
    for name, layer in cross_layers(pipe.unet).items():
        width = layer.to_k.in_features
        other = diffusers.models.attention_processor.Attention(
            layer.query_dim, cross_attention_dim=width, heads=layer.heads, dim_head=layer.inner_dim // layer.heads,
            **options,
        )  # fmt: skip
        parent, _, last = name.rpartition(".")
        setattr(pipe.unet.get_submodule(parent), last, other)
    with pytest.raises(UnsupportedModelError, match=why):
        promptattn.attend(pipe, "a (red:1.5) cat", weighting="negpip").__enter__()


@RULES
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(where="text"), "where='text': {rule} acts in the denoiser only"),
        (dict(where="both"), "where='both': {rule} acts in the denoiser only"),
        (dict(strength=6), "strength=6: {rule} takes every weight as it stands"),
    ],
)
def test_options_that_a_rule_does_not_have(rule, options, message):
    with pytest.raises(ConfigError, match=message.format(rule=rule)):
        promptattn.attend(tiny.sd(), WEIGHTED, weighting=rule, **options)


@RULES
def test_processors_by_hand(rule):
    pipe = tiny.sd().to(torch.float64)
    with promptattn.attend(pipe, WEIGHTED, NEGATIVE_WEIGHTED, weighting=rule, capture=False) as run:
        expected = generate(pipe, **run.inputs)
    plan = promptattn.plan(pipe, WEIGHTED, NEGATIVE_WEIGHTED)
    pipe.unet.set_attn_processor(processors_for(pipe.unet, plan, rule=rule))
    torch.testing.assert_close(generate(pipe, CLEAN, negative_prompt=NEGATIVE), expected, rtol=1e-9, atol=1e-9)
