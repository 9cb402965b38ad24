"""From trained parts to the standard diffusers folder that ships in the package."""

import os
import shutil
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from promptattn.shapes.training.unet import build_scheduler

__all__ = ["export_unet"]

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
