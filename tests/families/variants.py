"""Pipelines around the denoisers that are served, beyond those of the families: what they are made of and called with.

Each has the parts of a family, some of them replaced, and a picture to begin from, to repaint or to go by.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines.deprecated.alt_diffusion.pipeline_alt_diffusion_img2img import AltDiffusionImg2ImgPipeline
from diffusers.pipelines.deprecated.stable_diffusion_variants.pipeline_stable_diffusion_inpaint_legacy import (
    StableDiffusionInpaintPipelineLegacy,
)
from diffusers.pipelines.pag.pipeline_pag_kolors import KolorsPAGPipeline
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from families import autoencoders, text_encoders
from families.family import seeded
from families.registry import FAMILIES
from tiny_pipelines import unet

HEIGHT, WIDTH = 32, 48
SIZE = dict(height=HEIGHT, width=WIDTH)
PICTURE = torch.linspace(0, 1, 3 * HEIGHT * WIDTH).view(1, 3, HEIGHT, WIDTH)
MASK = (torch.arange(WIDTH) < WIDTH // 2).float().expand(1, 1, HEIGHT, WIDTH)
REPAINTED = dict(image=PICTURE, mask_image=MASK)
UNBINNED = SIZE | dict(use_resolution_binning=False)
WIDE = torch.linspace(0, 1, 3 * HEIGHT * 64).view(1, 3, HEIGHT, 64)
TWICE = dict(height=2 * HEIGHT, width=2 * WIDTH)
SMALL = PICTURE[..., : HEIGHT // 2, : WIDTH // 2]
LARGE = PICTURE.repeat(1, 1, 2, 2)
SANA = UNBINNED | dict(width=64)  # its pipelines take whole times 32
LEVELS = 4  # steps whose noise is the same in every call

Parts = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """One class of pipelines.

    Attributes:
        kind: the class.
        family: the name of the family whose parts it has.
        given: what its call is given beside text and steps.
        replaced: from the family's parts to those that it has besides, or instead.
    """

    kind: type
    family: str
    given: dict[str, Any] = field(default_factory=dict)
    replaced: Callable[[Parts], Parts] = dict

    def make(self) -> Any:
        parts = dict(FAMILIES[self.family].make().components)
        parts |= self.replaced(parts) | dict(requires_safety_checker=False)
        takes = inspect.signature(self.kind.__init__).parameters
        pipe = self.kind(**{name: part for name, part in parts.items() if name in takes})
        pipe.set_progress_bar_config(disable=True)
        return pipe


def _other(**parts: Any) -> Callable[[Parts], Parts]:
    return lambda own: {name: part() if callable(part) else part for name, part in parts.items()}


def _control(own: Parts) -> Parts:
    net = diffusers.ControlNetModel.from_unet(own["unet"], conditioning_embedding_out_channels=(8, 16))
    return dict(controlnet=_acting(net), pag_applied_layers="mid")


def _union_control(own: Parts) -> Parts:
    takes = inspect.signature(diffusers.ControlNetUnionModel.__init__).parameters
    same = {name: value for name, value in own["unet"].config.items() if name in takes}
    small = dict(
        conditioning_embedding_out_channels=(8, 16),
        num_trans_channel=16,
        num_trans_head=2,
        num_trans_layer=1,
        num_proj_channel=16,
    )
    return dict(controlnet=_acting(seeded(diffusers.ControlNetUnionModel, **same | small)))


def _qwen_control(own: Parts, **more: Any) -> Parts:
    takes = inspect.signature(diffusers.QwenImageControlNetModel.__init__).parameters
    same = {name: value for name, value in own["transformer"].config.items() if name in takes}
    return dict(controlnet=_acting(seeded(diffusers.QwenImageControlNetModel, **same | more)))


def _z_image_control(own: Parts, channels: int) -> Parts:
    """channels: of the picture that it goes by, and of what is to be repainted and its mask, where there are such."""
    sizes = {name: own["transformer"].config[name] for name in ("dim", "n_refiner_layers", "n_heads", "n_kv_heads")}
    net = seeded(diffusers.ZImageControlNetModel, control_layers_places=[0], control_in_dim=channels, **sizes)
    return dict(controlnet=_acting(net))


def _sana_control(own: Parts) -> Parts:
    return dict(controlnet=_acting(seeded(diffusers.SanaControlNetModel, **_same(diffusers.SanaControlNetModel, own))))


def _same(kind: type, own: Parts) -> dict[str, Any]:
    """What a model of this kind takes of the transformer's config."""
    takes = inspect.signature(kind.__init__).parameters
    return {name: value for name, value in own["transformer"].config.items() if name in takes}


def _upscaling(own: Parts) -> Parts:
    """Of a model that is given a smaller picture beside its own, and how noisy that is."""
    config = {**own["unet"].config, "in_channels": 6, "class_embed_type": "timestep"}
    takes = inspect.signature(type(own["unet"]).__init__).parameters
    unet = seeded(type(own["unet"]), **{name: value for name, value in config.items() if name in takes})
    return dict(unet=unet, image_noising_scheduler=diffusers.DDPMScheduler())


def _hunyuan_control(own: Parts) -> Parts:
    kind = diffusers.HunyuanDiT2DControlNetModel
    return dict(controlnet=_acting(seeded(kind, **_same(kind, own), transformer_num_layers=2)))


def _acting(net: torch.nn.Module) -> torch.nn.Module:
    """A ControlNet begins with zeros at its ends, and would do nothing."""
    noise = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        if not parameter.any():
            parameter.data.normal_(std=0.02, generator=noise)
    return net.eval()


def _depth_estimator() -> Any:
    config = transformers.DPTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        backbone_out_indices=[0, 1, 1, 1],
        neck_hidden_sizes=[4, 4, 4, 4],
        fusion_hidden_size=4,
        is_hybrid=False,
    )
    return seeded(transformers.DPTForDepthEstimation, config=config)


def _adapter() -> Any:
    return seeded(
        diffusers.T2IAdapter,
        in_channels=3,
        channels=[16, 32],
        num_res_blocks=1,
        downscale_factor=2,
        adapter_type="full_adapter",
    )


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


_perturbed = _other(pag_applied_layers="mid")
_controlled = dict(image=PICTURE, control_image=PICTURE)
_united = dict(control_image=[PICTURE], control_mode=[0]) | SIZE

SD, SDXL, IF = "stable-diffusion-1", "sdxl", "deepfloyd-if"

VARIANTS = (
    Variant(diffusers.StableDiffusionImg2ImgPipeline, SD, dict(image=PICTURE)),
    Variant(diffusers.StableDiffusionInpaintPipeline, SD, REPAINTED | SIZE),
    Variant(StableDiffusionInpaintPipelineLegacy, SD, REPAINTED),
    Variant(
        diffusers.StableDiffusionDepth2ImgPipeline,
        SD,
        dict(image=PICTURE, depth_map=PICTURE[:, 0]),
        _other(unet=functools.partial(unet, in_channels=5), depth_estimator=_depth_estimator),
    ),
    Variant(
        diffusers.StableDiffusionUpscalePipeline,
        SD,
        dict(image=PICTURE[..., : HEIGHT // 2, : WIDTH // 2]),
        _other(
            unet=functools.partial(unet, in_channels=7, num_class_embeds=1000),
            low_res_scheduler=diffusers.DDPMScheduler,
        ),
    ),
    Variant(
        diffusers.StableDiffusionDiffEditPipeline,
        SD,
        dict(
            mask_image=MASK[:, 0, ::2, ::2],
            image_latents=_noise(1, LEVELS, 4, HEIGHT // 2, WIDTH // 2),
            inpaint_strength=1.0,
        ),
        _other(inverse_scheduler=diffusers.DDIMInverseScheduler),
    ),
    Variant(
        diffusers.StableDiffusionGLIGENPipeline,
        SD,
        dict(gligen_phrases=["cat"], gligen_boxes=[[0, 0, 0.5, 0.5]]) | SIZE,
        _other(unet=functools.partial(unet, attention_type="gated")),
    ),
    Variant(
        diffusers.StableDiffusionGLIGENTextImagePipeline,
        SD,
        dict(gligen_phrases=["cat"], gligen_boxes=[[0, 0, 0.5, 0.5]]) | SIZE,
        _other(unet=functools.partial(unet, attention_type="gated-text-image"), processor=None, image_project=None),
    ),
    Variant(
        diffusers.StableDiffusionLDM3DPipeline,
        SD,
        SIZE | dict(output_type="np"),
        _other(vae=functools.partial(autoencoders.kl, in_channels=6, out_channels=6)),
    ),
    Variant(
        diffusers.StableUnCLIPImg2ImgPipeline,
        SD,
        dict(image_embeds=_noise(1, 32)) | SIZE,
        _other(
            unet=functools.partial(unet, class_embed_type="projection", projection_class_embeddings_input_dim=64),
            image_encoder=functools.partial(text_encoders.clip_vision, 32),
            image_normalizer=functools.partial(StableUnCLIPImageNormalizer, embedding_dim=32),
            image_noising_scheduler=diffusers.DDPMScheduler,
        ),
    ),
    Variant(diffusers.StableDiffusionModelEditingPipeline, SD, SIZE),
    Variant(diffusers.StableDiffusionAdapterPipeline, SD, dict(image=PICTURE) | SIZE, _other(adapter=_adapter)),
    Variant(diffusers.StableDiffusionControlNetPipeline, SD, dict(image=PICTURE) | SIZE, _control),
    Variant(diffusers.StableDiffusionControlNetImg2ImgPipeline, SD, _controlled | SIZE, _control),
    Variant(diffusers.StableDiffusionControlNetInpaintPipeline, SD, _controlled | REPAINTED | SIZE, _control),
    Variant(diffusers.StableDiffusionPAGPipeline, SD, SIZE, _perturbed),
    Variant(diffusers.StableDiffusionPAGImg2ImgPipeline, SD, dict(image=PICTURE), _perturbed),
    Variant(diffusers.StableDiffusionPAGInpaintPipeline, SD, REPAINTED | SIZE, _perturbed),
    Variant(diffusers.StableDiffusionControlNetPAGPipeline, SD, dict(image=PICTURE) | SIZE, _control),
    Variant(diffusers.StableDiffusionControlNetPAGInpaintPipeline, SD, _controlled | REPAINTED | SIZE, _control),
    Variant(AltDiffusionImg2ImgPipeline, "alt-diffusion", dict(image=PICTURE)),
    Variant(diffusers.StableDiffusionXLImg2ImgPipeline, SDXL, dict(image=PICTURE)),
    Variant(diffusers.StableDiffusionXLInpaintPipeline, SDXL, REPAINTED | SIZE),
    Variant(diffusers.StableDiffusionXLAdapterPipeline, SDXL, dict(image=PICTURE) | SIZE, _other(adapter=_adapter)),
    Variant(diffusers.StableDiffusionXLControlNetPipeline, SDXL, dict(image=PICTURE) | SIZE, _control),
    Variant(diffusers.StableDiffusionXLControlNetImg2ImgPipeline, SDXL, _controlled | SIZE, _control),
    Variant(diffusers.StableDiffusionXLControlNetInpaintPipeline, SDXL, _controlled | REPAINTED | SIZE, _control),
    Variant(diffusers.StableDiffusionXLControlNetUnionPipeline, SDXL, _united, _union_control),
    Variant(
        diffusers.StableDiffusionXLControlNetUnionImg2ImgPipeline, SDXL, _united | dict(image=PICTURE), _union_control
    ),
    Variant(diffusers.StableDiffusionXLControlNetUnionInpaintPipeline, SDXL, _united | REPAINTED, _union_control),
    Variant(diffusers.StableDiffusionXLPAGPipeline, SDXL, SIZE, _perturbed),
    Variant(diffusers.StableDiffusionXLPAGImg2ImgPipeline, SDXL, dict(image=PICTURE), _perturbed),
    Variant(diffusers.StableDiffusionXLPAGInpaintPipeline, SDXL, REPAINTED | SIZE, _perturbed),
    Variant(diffusers.StableDiffusionXLControlNetPAGPipeline, SDXL, dict(image=PICTURE) | SIZE, _control),
    Variant(diffusers.StableDiffusionXLControlNetPAGImg2ImgPipeline, SDXL, _controlled | SIZE, _control),
    Variant(KolorsPAGPipeline, "kolors", SIZE, _perturbed),
    Variant(diffusers.LatentConsistencyModelImg2ImgPipeline, "lcm", dict(image=PICTURE)),
    Variant(diffusers.StableDiffusion3Img2ImgPipeline, "sd3", dict(image=PICTURE) | SIZE),
    Variant(diffusers.StableDiffusion3PAGPipeline, "sd3", SIZE, _other(pag_applied_layers="blocks.1")),
    Variant(
        diffusers.StableDiffusion3PAGImg2ImgPipeline,
        "sd3",
        dict(image=PICTURE) | SIZE,
        _other(pag_applied_layers="blocks.1"),
    ),
    Variant(diffusers.FluxImg2ImgPipeline, "flux", dict(image=PICTURE) | SIZE),
    Variant(diffusers.FluxKontextInpaintPipeline, "flux", REPAINTED | SIZE | dict(_auto_resize=False)),
    Variant(diffusers.ChromaImg2ImgPipeline, "chroma", dict(image=PICTURE) | SIZE),
    Variant(
        diffusers.Flux2KleinInpaintPipeline, "flux2-klein", REPAINTED | SIZE | dict(text_encoder_out_layers=(1, 2, 3))
    ),
    Variant(diffusers.QwenImageImg2ImgPipeline, "qwen-image", dict(image=PICTURE) | SIZE),
    Variant(diffusers.QwenImageInpaintPipeline, "qwen-image", REPAINTED | SIZE),
    Variant(diffusers.QwenImageControlNetPipeline, "qwen-image", dict(control_image=PICTURE) | SIZE, _qwen_control),
    Variant(
        diffusers.QwenImageControlNetInpaintPipeline,
        "qwen-image",
        dict(control_image=PICTURE, control_mask=MASK) | SIZE,
        functools.partial(_qwen_control, extra_condition_channels=4),
    ),
    Variant(diffusers.ZImageImg2ImgPipeline, "z-image", dict(image=PICTURE) | SIZE),
    Variant(diffusers.ZImageInpaintPipeline, "z-image", REPAINTED | SIZE),
    Variant(
        diffusers.ZImageControlNetPipeline,
        "z-image",
        dict(control_image=PICTURE, controlnet_conditioning_scale=1.0) | SIZE,
        functools.partial(_z_image_control, channels=4),
    ),
    Variant(
        diffusers.ZImageControlNetInpaintPipeline,
        "z-image",
        dict(control_image=PICTURE, controlnet_conditioning_scale=1.0) | REPAINTED | SIZE,
        functools.partial(_z_image_control, channels=9),
    ),
    Variant(
        diffusers.CogView4ControlPipeline,
        "cogview4",
        dict(control_image=PICTURE, guidance_scale=4.0) | SIZE,
        lambda own: dict(
            transformer=seeded(type(own["transformer"]), **own["transformer"].config | dict(in_channels=8))
        ),
    ),
    Variant(
        diffusers.PixArtSigmaPAGPipeline,
        "pixart-sigma",
        UNBINNED,
        _other(pag_applied_layers="blocks.1"),
    ),
    Variant(diffusers.IFImg2ImgPipeline, IF, dict(image=PICTURE)),
    Variant(diffusers.IFInpaintingPipeline, IF, REPAINTED),
    Variant(diffusers.IFSuperResolutionPipeline, IF, dict(image=SMALL) | SIZE, _upscaling),
    Variant(diffusers.IFImg2ImgSuperResolutionPipeline, IF, dict(image=SMALL, original_image=PICTURE), _upscaling),
    Variant(
        diffusers.IFInpaintingSuperResolutionPipeline,
        IF,
        dict(image=SMALL, original_image=PICTURE, mask_image=MASK),
        _upscaling,
    ),
    Variant(
        diffusers.HunyuanDiTPAGPipeline,
        "hunyuan-dit",
        TWICE | dict(use_resolution_binning=False),
        _other(pag_applied_layers="blocks.1"),
    ),
    Variant(
        diffusers.HunyuanDiTControlNetPipeline,
        "hunyuan-dit",
        TWICE | dict(control_image=LARGE, use_resolution_binning=False),
        _hunyuan_control,
    ),
    Variant(
        diffusers.Kandinsky3Img2ImgPipeline, "kandinsky-3", dict(image=WIDE.repeat(1, 1, 2, 2), height=64, width=128)
    ),
    Variant(diffusers.SanaPAGPipeline, "sana", SANA, _other(pag_applied_layers="transformer_blocks.1")),
    Variant(diffusers.SanaControlNetPipeline, "sana", dict(control_image=WIDE) | SANA, _sana_control),
    Variant(
        diffusers.SanaSprintImg2ImgPipeline,
        "sana-sprint",
        dict(image=PICTURE, num_inference_steps=2, strength=0.6) | SANA,
    ),
)
