"""From trained parts to the standard diffusers folder that ships in the package."""

import os
import shutil
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.models.attention_processor import JointAttnProcessor2_0
from transformers import CLIPTextModel, CLIPTokenizer

from promptattn.shapes.training.dit import TextPair, build_flow_scheduler
from promptattn.shapes.training.unet import build_scheduler

__all__ = ["export_dit", "export_unet"]

Part = TypeVar("Part", bound=torch.nn.Module)


def export_unet(
    target: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, unet: UNet2DConditionModel
) -> int:
    """Write a float16 StableDiffusionPipeline folder, swapped into place whole; returns its size in bytes.

    The parts passed in are left as they are.
    """
    pipe = StableDiffusionPipeline(
        vae=_half(vae),
        text_encoder=_half(text_encoder),
        tokenizer=tokenizer,
        unet=_half(unet),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _write(pipe, target)


def export_dit(
    target: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, texts: TextPair, transformer: SD3Transformer2DModel
) -> int:
    """Write a float16 StableDiffusion3Pipeline folder without T5, like `export_unet`; returns its size in bytes."""
    transformer, vae = _half(transformer), _half(vae)
    transformer.set_attn_processor(JointAttnProcessor2_0())
    # This pipeline adds the shift where Stable Diffusion's has none.
    vae.register_to_config(shift_factor=0.0)
    pipe = StableDiffusion3Pipeline(
        vae=vae,
        text_encoder=_half(texts.first),
        text_encoder_2=_half(texts.second),
        text_encoder_3=None,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        tokenizer_3=None,
        transformer=transformer,
        scheduler=build_flow_scheduler(),
    )
    return _write(pipe, target)


def _write(pipe: DiffusionPipeline, target: Path) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        pipe.save_pretrained(fresh, safe_serialization=True)
        fresh.chmod(0o755)
        _swap(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return sum(file.stat().st_size for file in target.rglob("*") if file.is_file())


def _half(part: Part) -> Part:
    """A float16 copy that leaves the original training on."""
    return deepcopy(part).half().eval()


def _swap(fresh: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(fresh, target)
    shutil.rmtree(old, ignore_errors=True)
