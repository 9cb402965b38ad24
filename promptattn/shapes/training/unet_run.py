"""The stages of the UNet pipeline in order: autoencoder, text encoder, latents, denoiser, export.

Every stage leaves its result in the run folder and is skipped or resumed when it is already there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor

from promptattn.shapes.training.folder import export_unet
from promptattn.shapes.training.loop import StageSettings, train_stage
from promptattn.shapes.training.text import build_text_encoder, build_tokenizer, text_loss
from promptattn.shapes.training.unet import build_unet, cache_latents, unet_loss
from promptattn.shapes.training.vae import Reconstruction, build_vae, latent_scale, vae_loss

__all__ = ["FULL", "SMOKE", "UNetPlan", "export_run", "set_scale", "train_unet_pipeline"]


@dataclass(frozen=True)
class UNetPlan:
    """Sizes and lengths of one training run."""

    vae: StageSettings
    text: StageSettings
    unet: StageSettings
    vae_channels: tuple[int, ...] = (16, 32, 48)
    text_width: int = 128
    text_layers: int = 4
    unet_channels: tuple[int, ...] = (64, 128)
    unet_heads: tuple[int, ...] = (2, 4)
    scenes: int = 40_000
    captions: int = 20_000
    batches: dict[str, int] = field(default_factory=lambda: {"vae": 32, "text": 96, "unet": 64})


FULL = UNetPlan(
    vae=StageSettings("vae", steps=1000, lr=2e-3, ema=0.995),
    text=StageSettings("text", steps=1600, lr=1.5e-3, ema=0.99),
    unet=StageSettings("unet", steps=6200, lr=1.2e-3, warmup=100, save_every=200),
)

SMOKE = UNetPlan(
    vae=StageSettings("vae", steps=4, lr=1e-3, save_every=2, log_every=1),
    text=StageSettings("text", steps=4, lr=1e-3, save_every=2, log_every=1),
    unet=StageSettings("unet", steps=6, lr=1e-3, save_every=2, log_every=1),
    vae_channels=(8, 8, 8),
    text_width=128,
    text_layers=1,
    unet_channels=(16, 16),
    unet_heads=(1, 1),
    scenes=32,
    captions=200,
    batches={"vae": 2, "text": 4, "unet": 4},
)
"""Seconds long and good for nothing but tests: every stage, every file."""


def train_unet_pipeline(
    accelerator: Accelerator, plan: UNetPlan, folder: Path, export: Path | None, say: Callable[[str], None] = print
) -> None:
    """Run, or resume, every stage in `folder`; writes the pipeline to `export` (default `folder/pipeline`)."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    say("autoencoder")
    reconstruction = Reconstruction(build_vae(plan.vae_channels))
    vae = train_stage(accelerator, reconstruction, vae_loss(plan.batches["vae"]), plan.vae, folder).vae
    set_scale(vae, folder)
    tokenizer = build_tokenizer(plan.captions)
    say("text encoder")
    text_encoder = train_stage(
        accelerator,
        build_text_encoder(tokenizer, plan.text_width, plan.text_layers),
        text_loss(tokenizer, plan.text_width, plan.batches["text"]),
        plan.text,
        folder,
    )
    with accelerator.main_process_first():
        data = cache_latents(vae, tokenizer, folder / "latents.pt", plan.scenes)
    say("denoiser")
    fresh = build_unet(plan.unet_channels, plan.unet_heads, plan.text_width)
    if accelerator.device.type == "cpu":
        # The fused CPU kernel's backward in bfloat16 took 40 % of a step; plain matmuls halve the step.
        fresh.set_attn_processor(AttnProcessor())
    unet = train_stage(
        accelerator,
        fresh,
        unet_loss(data, text_encoder, tokenizer, plan.batches["unet"]),
        plan.unet,
        folder,
    )
    if accelerator.is_main_process:
        size = export_unet(export or folder / "pipeline", vae, tokenizer, text_encoder, unet)
        say(f"exported {size / 1e6:.1f} MB")


def export_run(plan: UNetPlan, folder: Path, target: Path) -> int:
    """Export the averaged weights of the last checkpoints, in the middle of a run too; returns the size in bytes."""
    tokenizer = build_tokenizer(plan.captions)
    vae = build_vae(plan.vae_channels)
    text_encoder = build_text_encoder(tokenizer, plan.text_width, plan.text_layers)
    unet = build_unet(plan.unet_channels, plan.unet_heads, plan.text_width)
    for name, part in {"vae": Reconstruction(vae), "text": text_encoder, "unet": unet}.items():
        part.load_state_dict(torch.load(folder / f"{name}.pt", map_location="cpu", weights_only=True)["ema"])
    set_scale(vae, folder)
    return export_unet(target, vae, tokenizer, text_encoder, unet)


def set_scale(vae: AutoencoderKL, folder: Path) -> None:
    """Measured once per run: latents that are cached must keep the scale they were cached with."""
    path = folder / "latent_scale.txt"
    if not path.exists():
        path.write_text(f"{latent_scale(vae):.6f}\n", encoding="utf-8")
    vae.register_to_config(scaling_factor=float(path.read_text(encoding="utf-8")))
