"""probe(): weights that act, weights that a model's norms undo, and the warning of runs."""

import copy
import gc
import importlib
import math
import weakref

import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from test_attend import generate as call

import promptattn
from promptattn.errors import ConfigError, PromptAttnWarning, UnsupportedModelError
from promptattn.processors import attention_layers
from promptattn.run.probe import SHARE, Probe
from promptattn.weighting import METHODS, EmbeddingWeighting, Weighting

SCALING = EmbeddingWeighting("a1111", restore_mean=False)
ALL = {**tiny.PIPELINES, **tiny.JOINT_PIPELINES}


def normalising(kind, dtype=torch.float32):
    """A pipeline whose denoiser normalises each row of its text first, which undoes any length exactly."""
    pipe = ALL[kind]()
    if kind in tiny.PIPELINES:
        pipe.unet.register_to_config(encoder_hid_dim_type="text_proj")
        pipe.unet.encoder_hid_proj = torch.nn.LayerNorm(pipe.unet.config.cross_attention_dim, eps=1e-12)
    else:
        embedder = pipe.transformer.context_embedder
        pipe.transformer.context_embedder = torch.nn.Sequential(
            torch.nn.RMSNorm(embedder.in_features, eps=1e-12), embedder
        )
    return pipe.to(dtype)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("sd", torch.float32), ("sd", torch.bfloat16), ("sd3", torch.bfloat16), ("flux", torch.float32)],
)
def test_scaling_is_inert_where_text_is_normalised_and_attention_is_not(kind, dtype):
    pipe = normalising(kind, dtype)
    scaling = promptattn.probe(pipe, SCALING)
    assert scaling.inert
    assert scaling.instead == "attention"
    assert str(scaling).endswith("it does nothing in this model, where weighting='attention' acts.")
    if dtype == torch.float32:
        assert scaling.change < 1e-5 * scaling.reference
    assert not promptattn.probe(pipe, "attention").inert
    assert not promptattn.probe(pipe, "comfy").inert


@pytest.mark.parametrize("kind", ["sd", "sd3"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_probed(kind, method):
    pipe = ALL[kind]()
    if method == "negpip" and kind == "sd3":
        with pytest.raises(UnsupportedModelError, match="negpip"):
            promptattn.probe(pipe, method)
        return
    found = promptattn.probe(pipe, method)
    assert not found.inert
    assert found.instead is None
    assert found.change > SHARE * found.reference > 0
    assert str(found).startswith(f"{method}: weight 1.5 on 'red' moves the prediction by ")


def test_the_change_is_that_of_the_first_prediction():
    """By hand: two calls of the UNet on the same noise, with the weight and without."""
    pipe = tiny.sd()
    predictions = []

    def look(unet, args, output):
        predictions.append(output[0].double())

    pipe.unet.register_forward_hook(look)
    size = dict(height=16, width=24, guidance=1.0, steps=2)
    for prompt in ("a red cat", "a (red:1.5) cat", "a cat"):
        with promptattn.attend(pipe, prompt, capture=False) as run:
            call(pipe, **run.inputs, **size)
    plain, weighted, without = predictions[0], predictions[2], predictions[4]
    found = promptattn.probe(pipe, prompt="a red cat", word="red", height=16, width=24)
    assert found.change == pytest.approx(float((weighted - plain).norm() / plain.norm()), rel=1e-4)
    assert found.reference == pytest.approx(float((without - plain).norm() / plain.norm()), rel=1e-4)
    assert found.rounding < 1e-5


def test_rounding_is_told_from_movement():
    """In bfloat16 the difference of two predictions is mostly rounding; what is reported is not."""
    exact = promptattn.probe(tiny.sd3(), "a1111")
    coarse = promptattn.probe(tiny.sd3().to(torch.bfloat16), "a1111")
    assert coarse.rounding > 0.5 * exact.change > 1000 * exact.rounding
    assert coarse.change == pytest.approx(exact.change, rel=0.3)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (dict(prompt="un gato rojo persigue a un ratón", word="ratón"), "ratón"),
        (dict(prompt="un gato (rojo:1.3) persigue a un ratón"), "rojo"),
        (dict(prompt="un gato rojo persigue a un ratón"), "persigue"),
        (dict(prompt="a RED cat", word="red cat"), "RED cat"),
        (dict(word="castle"), "castle"),
        (dict(prompt="cat"), "cat"),
        (dict(), "red"),
    ],
)
def test_which_word(options, word):
    assert promptattn.probe(tiny.sd(), **options).word == word


@pytest.mark.parametrize("weight", [0.0, -1.0, 3.0])
def test_which_weight(weight):
    found = promptattn.probe(tiny.sd(), Weighting("denoiser", "exact"), weight=weight)
    assert (found.method, found.weight, found.inert) == ("attention", weight, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(weight=1.0), "weight=1.0: probing needs a finite weight other than 1"),
        (dict(weight=math.nan), "weight=nan: probing needs"),
        (dict(prompt="a red cat", word="dog"), "nothing to probe: there is no 'dog' in this prompt"),
        (dict(prompt="..."), "nothing to probe: the prompt has no word that reaches the model"),
        (dict(weighting="p2p"), "weighting='p2p' is not a method"),
    ],
)
def test_what_cannot_be_probed(options, message):
    with pytest.raises(ConfigError, match=message):
        promptattn.probe(tiny.sd(), **options)


def test_what_is_no_pipeline_is_told_as_by_a_run():
    with pytest.raises(UnsupportedModelError, match="object is not a text-to-image pipeline"):
        promptattn.probe(object())


def state(pipe):
    denoiser = pipe.transformer if getattr(pipe, "unet", None) is None else pipe.unet
    return (
        dict(vars(pipe)),
        {name: layer.processor for name, layer in attention_layers(denoiser).items()},
        len(denoiser._forward_hooks) + len(denoiser._forward_pre_hooks),
        {name: copy.copy(value) for name, value in vars(pipe.scheduler).items()},
        torch.get_rng_state().tolist(),
    )


@pytest.mark.parametrize("kind", ["sd", "sd3", "flux"])
@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_as_before(kind, fails, monkeypatch, recwarn):
    pipe = ALL[kind]()
    scheduler = pipe.scheduler
    before = state(pipe)
    if fails:
        monkeypatch.setattr("torch.Tensor.norm", lambda *args, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            promptattn.probe(pipe, "comfy")
        monkeypatch.undo()
    else:
        promptattn.probe(pipe, "comfy")
    after = state(pipe)
    assert pipe.scheduler is scheduler
    assert after[0].keys() == before[0].keys()
    assert all(after[0][name] is before[0][name] for name in before[0])
    assert after[1:3] == before[1:3]
    assert after[3].keys() == before[3].keys()
    assert after[4] == before[4]
    assert not recwarn.list


def test_a_run_warns_and_probes_once_where_its_method_is_inert():
    pipe = normalising("sd")
    calls = []
    pipe.unet.register_forward_hook(lambda *args: calls.append(1))
    said = r"'gato' .* nothing in this model, where weighting='attention' acts"
    with (
        pytest.warns(PromptAttnWarning, match=said),
        promptattn.attend(pipe, "un (gato:1.2) rojo", weighting=SCALING, capture=False),
    ):
        pass
    probed = len(calls)
    assert 0 < probed <= 7
    with (
        pytest.warns(PromptAttnWarning, match=said),
        promptattn.attend(pipe, "un (gato:1.2) rojo", weighting=SCALING, capture=False),
    ):
        pass
    assert len(calls) == probed


@pytest.mark.parametrize(
    ("prompt", "method"),
    [("un gato rojo", "a1111"), ("un (gato:1.2) rojo", "attention"), ("un (gato:1.2) rojo", "prompt-to-prompt")],
)
def test_nothing_is_probed_without_weights_or_with_a_method_in_attention(prompt, method, recwarn):
    pipe = normalising("sd")
    calls = []
    pipe.unet.register_forward_hook(lambda *args: calls.append(1))
    with promptattn.attend(pipe, prompt, weighting=method, capture=False):
        pass
    assert not calls
    assert not recwarn.list


def test_a_method_that_acts_is_not_warned_of(recwarn):
    with promptattn.attend(tiny.sd(), "un (gato:1.2) rojo", weighting="comfy", capture=False):
        pass
    assert not recwarn.list


def test_generate_warns_too():
    with pytest.warns(PromptAttnWarning, match="a1111: weight 1.5 on 'gato' .* weighting='attention' acts"):
        promptattn.generate(
            normalising("sd"), "un (gato:1.2) rojo", weighting=SCALING, num_inference_steps=1, height=16, width=16,
            capture=False,
        )  # fmt: skip


def test_the_image_is_the_same_as_without_the_check(monkeypatch):
    """Probing leaves neither the scheduler nor the noise of the run it precedes changed."""
    pipe = tiny.sd()

    def image():
        with promptattn.attend(pipe, "un (gato:1.2) rojo", weighting="comfy", capture=False) as run:
            return call(pipe, **run.inputs, steps=3)

    probed = image()
    monkeypatch.setattr(importlib.import_module("promptattn.run.probe"), "_needs_only_text", lambda pipe: False)
    other = tiny.sd()
    with promptattn.attend(other, "un (gato:1.2) rojo", weighting="comfy", capture=False) as run:
        assert torch.equal(call(other, **run.inputs, steps=3), probed)
    assert torch.equal(image(), probed)


def test_a_pipeline_that_needs_an_image_is_probed_when_it_is_given_one():
    base = tiny.sd()
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**base.components, requires_safety_checker=False)
    calls = []
    pipe.unet.register_forward_hook(lambda *args: calls.append(1))
    with promptattn.attend(pipe, "un (gato:1.2) rojo", weighting="comfy", capture=False):
        pass
    assert not calls
    found = promptattn.probe(pipe, "comfy", image=torch.rand(1, 3, 16, 16))
    assert not found.inert


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_a_word_that_is_cut_off_shows_nothing(kind, recwarn):
    """Of a weight that reaches no encoder nothing follows for the method: other words are probed with."""
    pipe = ALL[kind]()
    text = "a photo of a house, " * 30
    with pytest.raises(ConfigError, match="nothing to probe: 'castle' is cut off before it reaches the model"):
        promptattn.probe(pipe, "comfy", prompt=f"{text}(castle:1.3)", max_sequence_length=40)
    long = dict(capture=False, max_sequence_length=40)
    with promptattn.attend(pipe, f"{text}(castle:1.3)", weighting="comfy", **long):
        pass
    assert not [each for each in recwarn if "does nothing" in str(each.message)]


def test_a_check_that_fails_is_said_and_the_run_goes_on(monkeypatch):
    pipe = tiny.sd()
    with monkeypatch.context() as broken:
        broken.setattr("torch.Tensor.norm", lambda *args, **options: 1 / 0)
        with (
            pytest.warns(PromptAttnWarning, match="whether comfy does anything .* not be measured: division") as said,
            promptattn.attend(pipe, "un (gato:1.2) rojo", weighting="comfy", capture=False) as run,
        ):
            pass
    assert said[0].filename == __file__
    assert call(pipe, **run.inputs, steps=1) is not None


def test_runs_that_are_open_do_not_follow_the_check():
    """Its calls have the very text of the outer run, whose maps and weights are not theirs."""
    pipe = tiny.sd()
    with promptattn.attend(pipe, "a red cat") as outer:
        call(pipe, **outer.inputs, steps=2)
        before = outer.maps["cat"].array.copy()
        with promptattn.attend(pipe, "a (red:1.5) cat", weighting="comfy", capture=False):
            pass
        assert (outer.maps["cat"].array == before).all()
    alone = promptattn.probe(tiny.sd(), "comfy")
    with promptattn.attend(pipe, "a (red:3) cat and a blue star", capture=False):
        assert promptattn.probe(pipe, "comfy") == alone


def test_a_pipeline_can_go_after_probing():
    pipe = tiny.sd()
    with promptattn.attend(pipe, "un (gato:1.2) rojo", weighting="comfy", capture=False):
        pass
    gone = weakref.ref(pipe)
    del pipe
    gc.collect()
    assert gone() is None


def test_what_it_says():
    found = Probe("a1111", "red", 1.5, 1e-9, 0.25, 1e-7, inert=True, instead="attention")
    assert str(found) == (
        "a1111: weight 1.5 on 'red' moves the prediction by 1e-09, 4e-09 of what leaving the word out does: it does"
        " nothing in this model, where weighting='attention' acts."
    )
    hidden = Probe("comfy", "red", 1.5, 0.03, 0.25, 0.2, inert=True)
    assert str(hidden) == (
        "comfy: weight 1.5 on 'red' moves the prediction by 0.03, 0.12 of what leaving the word out does, which is no"
        " more than rounding (0.2): it does nothing in this model, where no other method was found to act."
    )
    assert str(Probe("comfy", "red", 2.0, 0.1, 0.2, 0.0, inert=False)) == (
        "comfy: weight 2 on 'red' moves the prediction by 0.1, 0.5 of what leaving the word out does."
    )
