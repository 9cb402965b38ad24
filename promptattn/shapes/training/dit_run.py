"""The stages of the DiT pipeline: coarse patches first, then every cell its own, then export.

The autoencoder, the text encoder and the cached latents are those of a UNet run. A model that sees 8 x 8 patches of two
by two cells learns what to draw where at a third of the cost of a step; `refine` hands that on to 16 x 16 cells.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, SD3Transformer2DModel
from transformers import CLIPTokenizer

from promptattn.shapes.training.dit import (
    CollapsedRowsProcessor,
    TextPair,
    build_text_pair,
    build_transformer,
    flow_loss,
    refine,
)
from promptattn.shapes.training.folder import export_dit
from promptattn.shapes.training.loop import StageSettings, train_stage
from promptattn.shapes.training.text import build_text_encoder, build_tokenizer
from promptattn.shapes.training.unet import cache_latents
from promptattn.shapes.training.unet_run import FULL, SMOKE, UNetPlan, set_scale
from promptattn.shapes.training.vae import Reconstruction, build_vae

__all__ = ["FULL_DIT", "SMOKE_DIT", "DiTPlan", "export_dit_run", "train_dit_pipeline"]


@dataclass(frozen=True)
class DiTPlan:
    """Sizes and lengths of one training run, and the plan of the UNet run that it builds on."""

    base: UNetPlan
    coarse: StageSettings
    fine: StageSettings
    width: int = 128
    layers: int = 6
    heads: int = 4
    batches: dict[str, int] = field(default_factory=lambda: {"coarse": 64, "fine": 48})


FULL_DIT = DiTPlan(
    base=FULL,
    coarse=StageSettings("coarse", steps=5200, lr=1.2e-3, warmup=200, save_every=200),
    fine=StageSettings("fine", steps=2600, lr=1e-3, warmup=100, save_every=200),
)

SMOKE_DIT = DiTPlan(
    base=SMOKE,
    coarse=StageSettings("coarse", steps=4, lr=1e-3, save_every=2, log_every=1),
    fine=StageSettings("fine", steps=4, lr=1e-3, save_every=2, log_every=1),
    width=32,
    layers=2,
    heads=2,
    batches={"coarse": 4, "fine": 4},
)
"""Seconds long and good for nothing but tests."""


def train_dit_pipeline(
    accelerator: Accelerator,
    plan: DiTPlan,
    folder: Path,
    unet_folder: Path,
    export: Path | None,
    say: Callable[[str], None] = print,
) -> None:
    """Run, or resume, both stages in `folder`; writes the pipeline to `export` (default `folder/pipeline`)."""
    folder.mkdir(parents=True, exist_ok=True)
    vae, tokenizer, texts = _load_base(plan, unet_folder)
    with accelerator.main_process_first():
        data = cache_latents(vae, tokenizer, unet_folder / "latents.pt", plan.base.scenes)
    texts.to(accelerator.device)
    torch.manual_seed(0)
    model: SD3Transformer2DModel | None = None
    for settings, patch in ((plan.coarse, 2), (plan.fine, 1)):
        say(f"denoiser, {settings.name}")
        fresh = _build(plan, patch)
        if model is not None:
            refine(model, fresh)
        fresh.set_attn_processor(CollapsedRowsProcessor())
        loss = flow_loss(data, texts, tokenizer, plan.batches[settings.name])
        model = train_stage(accelerator, fresh, loss, settings, folder)
    if accelerator.is_main_process and model is not None:
        size = export_dit(export or folder / "pipeline", vae, tokenizer, texts, model)
        say(f"exported {size / 1e6:.1f} MB")


def export_dit_run(plan: DiTPlan, folder: Path, unet_folder: Path, target: Path) -> int:
    """Export the averaged weights of the last checkpoint, the coarse one too if there is no other; returns bytes."""
    vae, tokenizer, texts = _load_base(plan, unet_folder)
    settings, patch = (plan.fine, 1) if (folder / f"{plan.fine.name}.pt").exists() else (plan.coarse, 2)
    model = _build(plan, patch)
    model.load_state_dict(torch.load(folder / f"{settings.name}.pt", map_location="cpu", weights_only=True)["ema"])
    return export_dit(target, vae, tokenizer, texts, model)


def _build(plan: DiTPlan, patch: int) -> SD3Transformer2DModel:
    return build_transformer(patch, plan.width, plan.layers, plan.heads, text_width=2 * plan.base.text_width)


def _load_base(plan: DiTPlan, folder: Path) -> tuple[AutoencoderKL, CLIPTokenizer, TextPair]:
    """The finished parts of a UNet run; raises FileNotFoundError if it has not come that far."""
    tokenizer = build_tokenizer(plan.base.captions)
    vae = build_vae(plan.base.vae_channels)
    encoder = build_text_encoder(tokenizer, plan.base.text_width, plan.base.text_layers)
    for name, part in {"vae": Reconstruction(vae), "text": encoder}.items():
        path = folder / f"{name}.pt"
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: train the UNet pipeline first (train_shapes.py unet)")
        part.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["ema"])
    set_scale(vae, folder)
    return vae.requires_grad_(False), tokenizer, build_text_pair(encoder.requires_grad_(False).eval())
