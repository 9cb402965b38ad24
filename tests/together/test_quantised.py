"""Quantised linear layers: their weights are none of a run's business, and it leaves them alone."""

import pytest
import tiny_pipelines as tiny
import torch
from alongside import NEGATIVE, calling, unchanged, zeroed

ALL = tiny.PIPELINES | tiny.JOINT_PIPELINES
KINDS = ["sd", "sdxl", "sd3", "flux"]


def denoiser(pipe):
    return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


class Int8Linear(torch.nn.Module):
    """A linear layer that keeps int8 weights and one scale for each output."""

    def __init__(self, linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scale = linear.weight.abs().amax(dim=1, keepdim=True) / 127
        self.register_buffer("scale", scale)
        self.register_buffer("weight", (linear.weight / scale).round().to(torch.int8))
        self.bias = linear.bias

    def forward(self, hidden):
        return torch.nn.functional.linear(hidden, self.weight.to(hidden.dtype) * self.scale, self.bias)


def by_hand(model):
    for name, part in list(model.named_modules()):
        if type(part) is torch.nn.Linear and ".attn" in name:
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, Int8Linear(part))


def by_torchao(model):
    torchao = pytest.importorskip("torchao.quantization")
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())


def by_bitsandbytes(model):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    for name, part in list(model.named_modules()):
        if type(part) is torch.nn.Linear and ".attn" in name:
            parent, _, own = name.rpartition(".")
            layer = bitsandbytes.nn.Linear8bitLt(part.in_features, part.out_features, bias=part.bias is not None)
            layer.load_state_dict(part.state_dict())
            setattr(model.get_submodule(parent), own, layer.to("cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_int8_layers(kind):
    check(kind, by_hand)


@pytest.mark.parametrize("kind", ["sd", "flux"])
@pytest.mark.parametrize("quantise", [by_torchao, by_bitsandbytes])
def test_int8_layers_of_other_packages(kind, quantise):
    check(kind, quantise)


def check(kind, quantise):
    pipe, plain = ALL[kind](), ALL[kind]()
    negative = None if kind == "flux" else NEGATIVE
    quantise(denoiser(pipe))
    call = calling(pipe)
    assert not torch.equal(call(prompt="a red cat"), calling(plain)(prompt="a red cat"))
    unchanged(pipe, call, negative)
    zeroed(pipe, call, negative)


def test_a_quantised_text_encoder():
    pipe = tiny.sd()
    for name, part in list(pipe.text_encoder.named_modules()):
        if name.endswith(("q_proj", "k_proj", "v_proj")):
            parent, _, own = name.rpartition(".")
            setattr(pipe.text_encoder.get_submodule(parent), own, Int8Linear(part))
    unchanged(pipe, calling(pipe), where="both")
