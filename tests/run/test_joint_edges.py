"""Joint attention where it is easily got wrong: leaving, nesting, a second image, fused projections."""

import pytest
import tiny_pipelines as tiny
import torch
from test_joint import EVERYTHING, GATO, NEGATIVE, PROMPT, attend, generate

from promptattn.processors import attention_layers

TWO = ["sd3-dual", "flux"]


@pytest.fixture(params=TWO)
def kind(request):
    return request.param


@pytest.fixture
def pipe(kind):
    return tiny.JOINT_PIPELINES[kind]()


@pytest.fixture(scope="module")
def unchanged():
    """Pipelines that no test leaves changed."""
    return {kind: tiny.JOINT_PIPELINES[kind]() for kind in TWO}


# Leaving.


def state(pipe):
    """All that a run may touch, to compare by identity."""
    encoders = [pipe.text_encoder, pipe.text_encoder_2, getattr(pipe, "text_encoder_3", None)]
    modules = [pipe.transformer, *(each for each in encoders if each is not None)]
    hooks = [
        (dict(part._forward_pre_hooks), dict(part._forward_hooks)) for module in modules for part in module.modules()
    ]
    return (
        {name: layer.processor for name, layer in attention_layers(pipe.transformer).items()},
        [each.config._attn_implementation for each in modules[1:]],
        "step" in vars(pipe.scheduler),
        hooks,
    )


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["between steps", "inside a layer"])
def test_everything_is_restored_under_exceptions(unchanged, kind, error, where):
    pipe = unchanged[kind]
    stock = generate(pipe, PROMPT, NEGATIVE)  # transformers sets hooks of its own at the first call
    before = state(pipe)

    def stop(*args):
        raise error("stop")

    run = attend(pipe, "a (red:0) cat", "(ugly:2)", where="both", capture=EVERYTHING)
    if where == "between steps":
        with pytest.raises(error), run:
            generate(pipe, **run.inputs, callback_on_step_end=stop)
    else:
        handle = pipe.transformer.transformer_blocks[1].attn.to_q.register_forward_hook(stop)
        with pytest.raises(error), run:
            generate(pipe, **run.inputs)
        handle.remove()
    assert state(pipe) == before
    assert torch.equal(generate(pipe, PROMPT, NEGATIVE), stock)


def test_nested_runs_each_answer_to_their_own_text(unchanged, kind):
    pipe = unchanged[kind]
    stock = {text: generate(pipe, text, NEGATIVE) for text in (PROMPT, GATO)}
    before = state(pipe)
    with attend(pipe, PROMPT, NEGATIVE) as outer:
        with attend(pipe, GATO, NEGATIVE, capture=EVERYTHING) as inner:
            assert torch.equal(generate(pipe, **inner.inputs), stock[GATO])
            assert torch.equal(generate(pipe, **outer.inputs), stock[PROMPT])
        assert torch.equal(generate(pipe, **outer.inputs), stock[PROMPT])
    assert inner.maps["ratón"].array.max() > 0
    assert outer.maps["mouse"].array.max() > 0
    assert state(pipe) == before


def test_a_second_image_in_one_run_forgets_the_first(unchanged, kind):
    pipe = unchanged[kind]
    with attend(pipe, PROMPT, NEGATIVE, capture=EVERYTHING) as run:
        generate(pipe, **run.inputs, seed=1)
        generate(pipe, **run.inputs, seed=0)
    with attend(pipe, PROMPT, NEGATIVE, capture=EVERYTHING) as once:
        generate(pipe, **once.inputs, seed=0)
    for ours, expected in zip(run.maps.records, once.maps.records, strict=True):
        assert (ours.mass == expected.mass).all()


# Fused projections. Diffusers' own fused processor fails on Stable Diffusion 3.5's dual layers.


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_fused_projections_before_a_run_are_the_stock_ones_to_the_bit(pipe, kind):
    plain = generate(pipe, PROMPT, NEGATIVE)
    pipe.transformer.fuse_qkv_projections()
    fused = generate(pipe, PROMPT, NEGATIVE)
    before = state(pipe)
    with attend(pipe, PROMPT, NEGATIVE, capture=EVERYTHING) as run:
        assert torch.equal(generate(pipe, **run.inputs), fused)
    assert run.maps["cat"].array.max() > 0
    assert state(pipe) == before
    if kind == "flux":  # diffusers' fused processor of SD3 leaves the norms of queries and keys out
        torch.testing.assert_close(fused, plain, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["sd3", "flux"])
@pytest.mark.filterwarnings("ignore:.*attention processors were replaced by FusedJointAttnProcessor2_0")
def test_projections_fused_while_attached_are_served(pipe):
    with attend(pipe, "a (red:0) cat", where="denoiser") as run:
        generate(pipe, **run.inputs)
        pipe.transformer.fuse_qkv_projections()
        fused = generate(pipe, **run.inputs)
    with attend(pipe, "a (red:0) cat", where="denoiser", capture=False) as again:
        assert torch.equal(generate(pipe, **again.inputs), fused)
    assert not torch.equal(generate(pipe, "a red cat"), fused)
    assert all((run.maps["red"].at_layer(name) == 0).all() for name in run.maps.layers)
    assert run.maps["cat"].array.max() > 0
    assert {type(processor).__module__.split(".")[0] for processor in state(pipe)[0].values()} == {"diffusers"}
