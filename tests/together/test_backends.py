"""`set_attention_backend`: the image is the backend's own to the bit, and words are weighed and watched exactly."""

import contextlib

import pytest
import tiny_pipelines as tiny
import torch
from alongside import PROMPT, WEIGHTED, attend, calling, state, unchanged
from diffusers.models import attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from torch.utils._python_dispatch import TorchDispatchMode

import promptattn.processors
from promptattn.core import KeyWeights
from promptattn.errors import PromptAttnWarning

# These four call torch on any device; _native_efficient and _native_cudnn have no kernel on the CPU.
ANYWHERE = ["native", "_native_math", "_native_flash", "flex"]


@pytest.fixture(autouse=True)
def same_active_backend():
    """Setting a model's backend sets the one that is in force everywhere, and diffusers leaves it so."""
    before = _AttentionBackendRegistry._active_backend
    yield
    _AttentionBackendRegistry.set_active_backend(before)


def same_maps(run, expected, word="cat"):
    for name in expected.maps.layers:
        ours, theirs = (torch.from_numpy(each.maps[word].at_layer(name)) for each in (run, expected))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore:attention backend 'flex' does not give")
@pytest.mark.parametrize("backend", ANYWHERE)
def test_backends_that_run_on_the_cpu(backend):
    pipe, plain = tiny.flux(), tiny.flux()
    pipe.transformer.set_attention_backend(backend)
    run = unchanged(pipe, calling(pipe), None)
    same_maps(run, unchanged(plain, calling(plain), None))
    _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)
    images = []
    for each in (pipe, plain):
        with attend(each, WEIGHTED, where="denoiser") as run:
            images.append(calling(each)(**run.inputs, num_inference_steps=1))
        assert not any(run.maps["red"].at_layer(name).any() for name in run.maps.layers)
    torch.testing.assert_close(*images, rtol=1e-3, atol=1e-4)


# Backends as other packages bring them, which are not installed here: they refuse masks and causality.


def softmax(query, key, value, scale):
    """Attention `[batch, row, head, dim]` in float64, and its log-sum-exp `[batch, head, row]`."""
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.einsum("bqhd,bkhd->bhqk", query.double(), key.double()) * scale
    output = torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value.double())
    return output.to(query.dtype), scores.logsumexp(-1)


def refuses(attn_mask, is_causal):
    if attn_mask is not None or is_causal:
        raise ValueError("`attn_mask` is not supported for flash-attn 2.")


class Fakes:
    """Functions to stand behind the name `flash`; `calls` counts how often the last one made was called."""

    def __init__(self):
        self.calls = 0

    def gives_lse(self, order="head", base=1.0):
        def flash(query, key, value, attn_mask=None, is_causal=False, scale=None, return_lse=False):
            refuses(attn_mask, is_causal)
            self.calls += 1
            output, lse = softmax(query, key, value, scale)
            lse = base * (lse.float() if order == "head" else lse.float().transpose(1, 2))
            return (output, lse) if return_lse else output

        return flash

    def hides_lse(self):
        def flash(query, key, value, attn_mask=None, is_causal=False, scale=None):
            refuses(attn_mask, is_causal)
            self.calls += 1
            return softmax(query, key, value, scale)[0]

        return flash


@pytest.fixture
def fakes():
    return Fakes()


@contextlib.contextmanager
def behind_flash(function, pipe):
    """While open, the pipeline's attention backend `flash` is this function."""
    name = AttentionBackendName.FLASH
    registry = _AttentionBackendRegistry
    tables = [registry._backends, registry._supported_arg_names, registry._constraints]
    before = [table[name] for table in tables]
    registry.register(name)(function)
    for _, part in pipe.transformer.named_modules():
        if hasattr(part, "processor"):
            part.processor._attention_backend = name
    try:
        yield
    finally:
        for table, old in zip(tables, before, strict=True):
            table[name] = old


class WithoutTorch(TorchDispatchMode):
    """Attention of torch's own is an error."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert "attention" not in function.name(), f"{function.name()} was called"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("order", ["head", "row"])
def test_a_backend_that_refuses_masks_and_gives_its_lse_does_all_the_work(order, fakes):
    pipe, plain = tiny.flux(), tiny.flux()
    call = calling(pipe)
    with behind_flash(fakes.gives_lse(order), pipe):
        unchanged(pipe, call, None)
        fakes.calls = 0
        with attend(pipe, WEIGHTED, where="denoiser") as run, WithoutTorch():
            image = call(**run.inputs, num_inference_steps=1)
        assert fakes.calls == len(run.maps.layers), "once in every layer"
    with attend(plain, WEIGHTED, where="denoiser") as expected:
        native = calling(plain)(**expected.inputs, num_inference_steps=1)
    torch.testing.assert_close(image, native, rtol=1e-3, atol=1e-4)
    same_maps(run, expected)
    assert not any(run.maps["red"].at_layer(name).any() for name in run.maps.layers)


def test_a_backend_that_hides_its_lse_is_told_and_keeps_the_image(fakes):
    pipe, plain = tiny.flux(), tiny.flux()
    call = calling(pipe)
    with behind_flash(fakes.hides_lse(), pipe):
        expected = call(prompt=PROMPT)
        before = state(pipe)
        hidden = pytest.warns(PromptAttnWarning, match=r"backend 'flash'.*log-sum-exp")
        with hidden as told, attend(pipe, PROMPT) as run:
            assert torch.equal(call(**run.inputs), expected)
        assert len(told) == 1, "once in a run"
        assert state(pipe) == before
        hidden = pytest.warns(PromptAttnWarning, match="weighted words run through torch's own attention")
        with hidden, attend(pipe, WEIGHTED, where="denoiser") as weighted:
            image = call(**weighted.inputs, num_inference_steps=1)
    same_maps(run, unchanged(plain, calling(plain), None))
    with attend(plain, WEIGHTED, where="denoiser") as same:
        native = calling(plain)(**same.inputs, num_inference_steps=1)
    torch.testing.assert_close(image, native, rtol=1e-3, atol=1e-4)
    same_maps(weighted, same)


def test_a_logarithm_of_another_base_is_not_trusted(fakes):
    """Some kernels count in powers of 2: their numbers would be wrong maps without an error."""
    pipe, plain = tiny.flux(), tiny.flux()
    told = pytest.warns(PromptAttnWarning, match="log-sum-exp")
    with behind_flash(fakes.gives_lse(base=1.4427), pipe), told, attend(pipe, PROMPT) as run:
        calling(pipe)(**run.inputs)
    same_maps(run, unchanged(plain, calling(plain), None))


@pytest.mark.filterwarnings("ignore:attention backend 'flex' does not give")
def test_a_backend_switched_while_attached(fakes):
    pipe = tiny.flux()
    call = calling(pipe)
    with attend(pipe, PROMPT) as run:
        call(**run.inputs)
        pipe.transformer.set_attention_backend("flex")
        flex = call(**run.inputs)
        with attention_dispatch.attention_backend("_native_math"):
            pipe.transformer.reset_attention_backend()
            math = call(**run.inputs)
    assert {part.processor._attention_backend for part in pipe.transformer.modules() if hasattr(part, "processor")} == {
        None
    }
    pipe.transformer.set_attention_backend("flex")
    assert torch.equal(call(prompt=PROMPT), flex)
    pipe.transformer.set_attention_backend("_native_math")
    assert torch.equal(call(prompt=PROMPT), math)


@pytest.mark.parametrize("kind", ["sd", "sd3"])
def test_models_that_call_torch_by_themselves_do_so_whatever_backend_is_set(kind):
    pipe = (tiny.PIPELINES | tiny.JOINT_PIPELINES)[kind]()
    call = calling(pipe)
    expected = call(prompt=PROMPT)
    (pipe.unet if kind == "sd" else pipe.transformer).set_attention_backend("flex")
    unchanged(pipe, call)
    assert torch.equal(call(prompt=PROMPT), expected)


def test_weights_that_are_all_1_leave_a_layer_to_its_backend(fakes):
    """Set by hand: the host knows them to be 1."""
    pipe = tiny.flux()
    with behind_flash(fakes.hides_lse(), pipe):
        expected = calling(pipe)(prompt=PROMPT)
        for name, processor in dict(pipe.transformer.attn_processors).items():
            own = promptattn.processors.derive(type(processor)).standing_for(processor, name)
            own.site.key_weights = KeyWeights.of([1, 2], [1.0, 1.0])
            pipe.transformer.get_submodule(name.removesuffix(".processor")).processor = own
        assert torch.equal(calling(pipe)(prompt=PROMPT), expected)
