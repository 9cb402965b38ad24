"""`torch.compile` of the denoiser, whole and block by block: it stays compiled, in one graph more, for all runs.

Dynamo is what could go wrong, so the graphs are run as they are traced (`backend="eager"`), which keeps every bit.
"""

import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from alongside import NEGATIVE, PROMPT, WEIGHTED, attend, calling, reading_text, state, whole
from torch._dynamo.testing import CompileCounter

import promptattn
from promptattn.denoisers import denoiser_of
from promptattn.maps.capture import Capture


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def flux_of_many_blocks():
    """More blocks than Dynamo compiles one function for, if it had to be for each anew."""
    pipe = tiny.flux()
    torch.manual_seed(0)
    config = {name: value for name, value in pipe.transformer.config.items() if name != "_use_default_values"}
    many = torch._dynamo.config.recompile_limit + 1
    pipe.transformer = diffusers.FluxTransformer2DModel.from_config(config | dict(num_layers=1, num_single_layers=many))
    return pipe


def returned(pipe, **options):
    pipe.transformer = torch.compile(pipe.transformer, **options)


def in_place(pipe, **options):
    pipe.unet.compile(**options)


def block_by_block(pipe, **options):
    pipe.transformer.compile_repeated_blocks(**options)


WAYS = {
    "returned": (tiny.flux, returned),
    "in place": (tiny.sd, in_place),
    "block by block": (flux_of_many_blocks, block_by_block),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_compiled_denoiser_stays_compiled_and_is_compiled_once_more_for_all_runs(way):
    make, compile_it = WAYS[way]
    pipe, plain = make().to(torch.float32), make()
    denoiser_of(plain).load_state_dict(denoiser_of(pipe).state_dict())
    counter = CompileCounter()
    compile_it(pipe, backend=counter, fullgraph=True)
    negative = NEGATIVE if way == "in place" else None
    text = dict(prompt=PROMPT) | ({} if negative is None else dict(negative_prompt=negative))
    call, expected = calling(pipe), calling(plain)

    image = call(**text)
    assert torch.equal(image, expected(**text))
    before, stock_graphs = state(pipe), counter.frame_count
    with attend(pipe, PROMPT, negative, capture=Capture(per_step=True)) as run:
        assert torch.equal(call(**run.inputs), image)
    assert state(pipe) == before
    assert set(run.maps.layers) == reading_text(denoiser_of(plain))
    assert {record.step_numbers for record in run.maps.records} == {(0, 1)}
    whole(run)
    graphs = counter.frame_count
    assert graphs <= 2 * stock_graphs, "blocks share a graph under a run as they do without one"

    # Other words, weights, steps and layers; a run in a run; leaving in the middle of an image: all in those graphs.
    with attend(pipe, WEIGHTED, negative, where="denoiser", steps=[1]) as run:
        weighted = call(**run.inputs)
    with attend(plain, WEIGHTED, negative, where="denoiser", steps=[1]) as reference:
        assert torch.equal(expected(**reference.inputs), weighted)
    assert not torch.equal(weighted, image)
    for name in reference.maps.layers:
        ours, theirs = (each.maps["cat"].at_layer(name) for each in (run, reference))
        assert (ours == theirs).all()
    other = expected(**(text | dict(prompt="un gato rojo")))
    with (
        attend(pipe, "un gato rojo", negative) as outer,
        attend(pipe, WEIGHTED, negative, where="denoiser", steps=[1]) as inner,
    ):
        assert torch.equal(call(**inner.inputs), weighted)
        assert torch.equal(call(**outer.inputs), other)
    assert outer.maps["rojo"].array.max() > 0

    def stop(*args):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), attend(pipe, PROMPT, negative) as run:
        call(**run.inputs, callback_on_step_end=stop)
    assert state(pipe) == before
    assert torch.equal(call(**text), image)
    assert counter.frame_count == graphs


def test_a_compiled_text_encoder_is_weighted_and_watched_as_it_is():
    pipe = tiny.sd()
    runs = []
    for _ in range(2):
        with attend(pipe, "a (cat:0.2) and a dog") as run:
            calling(pipe)(**run.inputs)
        runs.append(run)
        pipe.text_encoder = torch.compile(pipe.text_encoder, backend="eager")
    plain, compiled = runs
    assert torch.equal(compiled.inputs["prompt_embeds"], plain.inputs["prompt_embeds"])
    ours, theirs = (run.maps.text_attention[0].mass for run in (compiled, plain))
    assert (ours == theirs).all()


def test_prompts_joined_by_and_in_a_compiled_denoiser():
    """Their further calls are made by the denoiser as it is, not compiled."""
    images = []
    for compiled in (False, True):
        pipe = tiny.sd()
        if compiled:
            pipe.unet.mid_block.compile(backend="eager")  # a part will do
        with attend(pipe, "a red cat AND a gray mouse :0.7", NEGATIVE, capture=False) as run:
            images.append(calling(pipe)(**run.inputs))
    torch.testing.assert_close(*images, rtol=1e-4, atol=1e-5)


def test_a_denoiser_that_is_compiled_while_attached():
    pipe = tiny.flux()
    call = calling(pipe)
    with attend(pipe, PROMPT) as run:
        plain = call(**run.inputs)
        first = run.maps["cat"].array
        block_by_block(pipe, backend="eager", fullgraph=True)
        assert torch.equal(call(**run.inputs), plain)
        assert (run.maps["cat"].array == first).all()
    assert torch.equal(call(prompt=PROMPT), plain)


@pytest.mark.parametrize("way", ["returned", "in place"])
def test_generating_with_a_compiled_denoiser_and_an_estimate(way):
    make, compile_it = WAYS[way]
    options = dict(num_inference_steps=2, height=64, width=64)
    pipe, plain = make(), make()
    denoiser_of(plain).load_state_dict(denoiser_of(pipe).state_dict())
    compile_it(pipe, backend="eager", fullgraph=True)
    estimates, expected = [], []
    made = promptattn.generate(pipe, PROMPT, **options, on_estimate=estimates.append)
    promptattn.generate(plain, PROMPT, **options, on_estimate=expected.append)
    assert made.maps["cat"].array.max() > 0
    assert estimates[0].activations == expected[0].activations is not None
    assert promptattn.explain(PROMPT, pipe).model.denoiser == type(denoiser_of(plain)).__name__
