"""LoRA weights (peft) on the denoiser and on the text encoder, at any scale: nothing of a run touches them."""

import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from alongside import NEGATIVE, PROMPT, attend, calling, state, unchanged, zeroed
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

import promptattn
from promptattn.errors import PromptAttnWarning

ALL = tiny.PIPELINES | tiny.JOINT_PIPELINES
PROJECTIONS = ["to_q", "to_k", "to_v", "to_out.0"]
OF_TEXT = ["q_proj", "k_proj", "v_proj", "out_proj"]
SD = diffusers.StableDiffusionPipeline


def random_lora(module, targets, seed):
    """Weights of a LoRA for these layers as `load_lora_weights` reads them, made on a copy of the module's adapters."""
    module.add_adapter(LoraConfig(r=2, lora_alpha=4, target_modules=targets), adapter_name="made")
    layers = get_peft_model_state_dict(module, adapter_name="made")
    generator = torch.Generator().manual_seed(seed)
    # Not larger: scores of some hundreds would cost the float32 sums the digits that the tests compare.
    layers = {name: 0.3 * torch.randn(weight.shape, generator=generator) for name, weight in layers.items()}
    if hasattr(module, "delete_adapters"):
        module.delete_adapters("made")
    else:
        module.delete_adapter("made")
    return layers


def file_of(pipe, folder, seed=3):
    """A LoRA for denoiser and text encoder, in a file of its own."""
    denoiser = "unet" if hasattr(pipe, "unet") else "transformer"
    parts = {f"{denoiser}_lora_layers": random_lora(getattr(pipe, denoiser), PROJECTIONS, seed)}
    parts["text_encoder_lora_layers"] = random_lora(pipe.text_encoder, OF_TEXT, seed + 1)
    type(pipe).save_lora_weights(folder, **parts)
    return folder


def text_of(kind):
    return None if kind == "flux" else NEGATIVE


@pytest.fixture(params=["sd", "sdxl", "sd3", "flux"])
def kind(request):
    return request.param


def test_a_loaded_lora_stays_in_force(kind, tmp_path):
    pipe, stock = ALL[kind](), ALL[kind]()
    pipe.load_lora_weights(file_of(ALL[kind](), tmp_path))
    call = calling(pipe)
    with_lora = call(prompt=PROMPT)
    assert not torch.allclose(with_lora, calling(stock)(prompt=PROMPT), atol=1e-3)
    unchanged(pipe, call, text_of(kind))
    zeroed(pipe, call, text_of(kind))
    pipe.unload_lora_weights()
    unchanged(pipe, call, text_of(kind))
    assert torch.equal(call(prompt=PROMPT), calling(stock)(prompt=PROMPT))


def test_the_scale_of_a_call_reaches_the_denoiser(kind, tmp_path):
    """The text encoder is run on entry, so its scale is that of `set_adapters`; `docs/together.md` says so."""
    pipe = ALL[kind]()
    pipe.load_lora_weights(file_of(ALL[kind](), tmp_path))
    given = {"cross_attention_kwargs" if hasattr(pipe, "unet") else "joint_attention_kwargs": {"scale": 0.3}}
    call = calling(pipe, **given)
    told = pytest.warns(PromptAttnWarning, match=r"scale 0\.3 .*text_encoder was run on entry.*set_adapters")
    with told as warnings, attend(pipe, PROMPT, text_of(kind)) as run:
        ours = call(**run.inputs)
        embeds = {name: value for name, value in run.inputs.items() if isinstance(value, torch.Tensor)}
    assert torch.equal(ours, call(**embeds))
    assert not torch.equal(ours, calling(pipe)(**embeds))
    assert sum("scale 0.3" in str(each.message) for each in warnings) == 1
    assert run.maps["cat"].array.max() > 0


@pytest.mark.parametrize("kind", ["sd", "flux"])
def test_scales_set_before_reach_both(kind, tmp_path):
    pipe = ALL[kind]()
    pipe.load_lora_weights(file_of(ALL[kind](), tmp_path), adapter_name="some")
    full = calling(pipe)(prompt=PROMPT)
    pipe.set_adapters("some", 0.25)
    assert not torch.equal(calling(pipe)(prompt=PROMPT), full)
    unchanged(pipe, calling(pipe), text_of(kind))


@pytest.mark.parametrize("kind", ["sdxl", "sd3"])
def test_fused_weights(kind, tmp_path):
    pipe = ALL[kind]()
    pipe.load_lora_weights(file_of(ALL[kind](), tmp_path))
    pipe.fuse_lora(lora_scale=0.5)
    unchanged(pipe, calling(pipe), text_of(kind))


def test_a_lora_loaded_and_unloaded_while_attached(tmp_path):
    pipe = tiny.sd()
    folder = file_of(tiny.sd(), tmp_path)
    call = calling(pipe)
    plain, before = call(prompt=PROMPT), state(pipe)
    with attend(pipe, PROMPT) as run:
        pipe.load_lora_weights(folder)
        changed = call(**run.inputs)
        first = run.maps["cat"].array
        pipe.unload_lora_weights()
        assert torch.equal(call(**run.inputs), plain)
    assert not torch.equal(changed, plain)
    assert not (first == run.maps["cat"].array).all()
    assert {key: value for key, value in state(pipe).items() if key in before} == before


def test_two_at_once_and_one_switched_off(tmp_path):
    pipe = tiny.sd()
    for at, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        pipe.load_lora_weights(file_of(tiny.sd(), tmp_path / name, seed=10 * at), adapter_name=name)
    pipe.set_adapters(["one", "two"], [0.5, 0.7])
    unchanged(pipe, calling(pipe))
    pipe.disable_lora()
    unchanged(pipe, calling(pipe))


def test_weights_in_the_text_encoder_meet_its_lora(tmp_path):
    """The encoder's attention is entered while peft's layers are in it: neutral is the stock encoder to the bit."""
    pipe = tiny.sd()
    pipe.load_lora_weights(file_of(tiny.sd(), tmp_path))
    stock = pipe.encode_prompt(PROMPT, "cpu", 1, False)[0]
    with promptattn.attend(pipe, PROMPT, where="both") as run:
        assert torch.equal(run.inputs["prompt_embeds"], stock)
    with promptattn.attend(pipe, "a (red:0) cat and a gray mouse", where="both", capture=False) as run:
        assert not torch.allclose(run.inputs["prompt_embeds"], stock, atol=1e-3)
    assert torch.equal(pipe.encode_prompt(PROMPT, "cpu", 1, False)[0], stock)
