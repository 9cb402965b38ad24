"""Image prompts (IP-Adapter) and ControlNets beside a run: the words' columns are the text's alone."""

import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from alongside import NEGATIVE, attend, calling, reading_text, unchanged, zeroed

from promptattn.errors import PromptAttnWarning

HEIGHT, WIDTH = 32, 48
PICTURE = torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


def random(*shape, seed=5):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.1


# IP-Adapter.


def unet_adapter(unet):
    """Random IP-Adapter weights of 4 image tokens, in the form in which `load_ip_adapter` reads them."""
    width = unet.config.cross_attention_dim
    projection = {
        "proj.weight": random(4 * width, 8),
        "proj.bias": random(4 * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    layers = {}
    for index, name in enumerate(unet.attn_processors):
        if "attn2" in name:
            size = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape
            layers |= {f"{index}.to_k_ip.weight": random(*size), f"{index}.to_v_ip.weight": random(*size)}
    return {"image_proj": projection, "ip_adapter": layers}


def flux_adapter(transformer):
    """Likewise for Flux, where the double-stream blocks alone look at the picture."""
    inner = transformer.config.num_attention_heads * transformer.config.attention_head_dim
    width = transformer.config.joint_attention_dim
    projection = {
        "proj.weight": random(4 * width, 8),
        "proj.bias": random(4 * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    layers = {}
    for index in range(transformer.config.num_layers):
        layers |= {f"{index}.to_{each}_ip.weight": random(inner, width, seed=index) for each in "kv"}
        layers |= {f"{index}.to_{each}_ip.bias": random(inner, seed=index) for each in "kv"}
    return {"image_proj": projection, "ip_adapter": layers}


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@pytest.mark.parametrize("scale", [0.0, 0.7])
def test_ip_adapter_of_a_unet(kind, scale):
    pipe = tiny.PIPELINES[kind]()
    pipe.unet._load_ip_adapter_weights([unet_adapter(pipe.unet)])
    pipe.set_ip_adapter_scale(scale)
    call = calling(pipe, ip_adapter_image_embeds=[random(2, 1, 8, seed=6)])
    unchanged(pipe, call)
    zeroed(pipe, call)


def test_two_ip_adapters_at_once():
    pipe = tiny.sd()
    pipe.unet._load_ip_adapter_weights([unet_adapter(pipe.unet)] * 2)
    pipe.set_ip_adapter_scale([0.3, 0.8])
    unchanged(pipe, calling(pipe, ip_adapter_image_embeds=[random(2, 1, 8, seed=6), random(2, 1, 8, seed=7)]))


def test_ip_adapter_of_flux():
    pipe = tiny.flux()
    pipe.transformer._load_ip_adapter_weights([flux_adapter(pipe.transformer)])
    plain = calling(tiny.flux())(prompt="a red cat")
    # Without one for the negative prompt diffusers would make it from a picture.
    pictures = dict(ip_adapter_image_embeds=[random(1, 1, 8, seed=6)])
    call = calling(pipe, **pictures, negative_ip_adapter_image_embeds=[random(1, 1, 8, seed=7)])
    assert not torch.equal(call(prompt="a red cat"), plain)
    unchanged(pipe, call, None)
    zeroed(pipe, call, None)


def test_an_ip_adapter_taken_out_while_attached_is_noticed_and_served():
    pipe = tiny.sd()
    pipe.unet._load_ip_adapter_weights([unet_adapter(pipe.unet)])
    picture = dict(ip_adapter_image_embeds=[random(2, 1, 8, seed=6)])
    with attend(pipe, "a red cat") as run:
        calling(pipe, **picture)(**run.inputs)
        pipe.unload_ip_adapter()
        with pytest.warns(PromptAttnWarning, match="replaced by AttnProcessor2_0"):
            served = calling(pipe)(**run.inputs)
    assert run.maps["cat"].array.max() > 0
    assert {type(each).__name__ for each in pipe.unet.attn_processors.values()} == {"AttnProcessor2_0"}
    assert torch.equal(calling(pipe)(prompt="a red cat"), served)


# ControlNet. Its own attention layers are another model's, which a run of the denoiser leaves alone.


def filled(module):
    """A ControlNet's last layers begin as zeros, so that it would change nothing."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not parameter.any():
                parameter.copy_(random(*parameter.shape, seed=len(name)))
    return module.eval()


def controlled_unet(kind):
    pipe = tiny.PIPELINES[kind]()
    torch.manual_seed(0)
    net = filled(diffusers.ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(8, 16)))
    sdxl = kind == "sdxl"
    cls = diffusers.StableDiffusionXLControlNetPipeline if sdxl else diffusers.StableDiffusionControlNetPipeline
    controlled = cls(**pipe.components, controlnet=net, **({} if sdxl else dict(requires_safety_checker=False)))
    return controlled, dict(image=PICTURE), pipe


def controlled_sd3():
    pipe = tiny.sd3()
    torch.manual_seed(0)
    net = filled(
        diffusers.SD3ControlNetModel.from_transformer(pipe.transformer, num_layers=2, num_extra_conditioning_channels=0)
    )
    return diffusers.StableDiffusion3ControlNetPipeline(**pipe.components, controlnet=net), pipe


def controlled_flux():
    pipe = tiny.flux()
    torch.manual_seed(0)
    net = filled(
        diffusers.FluxControlNetModel.from_transformer(
            pipe.transformer,
            num_layers=1,
            num_single_layers=1,
            num_attention_heads=pipe.transformer.config.num_attention_heads,
            attention_head_dim=pipe.transformer.config.attention_head_dim,
        )
    )
    components = {
        name: part for name, part in pipe.components.items() if name not in ("image_encoder", "feature_extractor")
    }
    return diffusers.FluxControlNetPipeline(**components, controlnet=net), pipe


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_controlnet_of_a_unet(kind):
    pipe, given, plain = controlled_unet(kind)
    pipe.set_progress_bar_config(disable=True)
    call = calling(pipe, height=HEIGHT, width=WIDTH, **given)
    assert not torch.equal(call(prompt="a cat"), calling(plain, height=HEIGHT, width=WIDTH)(prompt="a cat"))
    run = unchanged(pipe, call)
    assert run.maps["cat"].array.shape == (HEIGHT, WIDTH)
    zeroed(pipe, call)


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_controlnet_of_a_transformer(kind):
    pipe, plain = controlled_sd3() if kind == "sd3" else controlled_flux()
    pipe.set_progress_bar_config(disable=True)
    negative = NEGATIVE if kind == "sd3" else None
    call = calling(pipe, height=HEIGHT, width=WIDTH, control_image=PICTURE, controlnet_conditioning_scale=0.7)
    assert not torch.equal(call(prompt="a cat"), calling(plain, height=HEIGHT, width=WIDTH)(prompt="a cat"))
    unchanged(pipe, call, negative)
    zeroed(pipe, call, negative)


def test_a_controlnet_is_left_alone():
    pipe, *_ = controlled_unet("sd")
    own = {name: id(processor) for name, processor in pipe.controlnet.attn_processors.items()}
    with attend(pipe, "a (red:0) cat", "ugly"):
        assert {name: id(processor) for name, processor in pipe.controlnet.attn_processors.items()} == own
        assert not pipe.controlnet._forward_pre_hooks
        changed = {
            name
            for name in reading_text(pipe.unet)
            if "promptattn" in type(pipe.unet.get_submodule(name).processor).__module__
        }
    assert changed == reading_text(pipe.unet)
