"""The autoencoder: 64 x 64 pixels to 4 x 16 x 16 latents of unit standard deviation and back."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from promptattn.shapes.draw import render
from promptattn.shapes.training.loop import Loss
from promptattn.shapes.world import sample_scene

__all__ = ["Reconstruction", "build_vae", "encode_pixels", "latent_scale", "scene_batch", "to_pixels", "vae_loss"]

_KL_WEIGHT = 1e-4


def build_vae(channels: tuple[int, ...] = (16, 32, 48)) -> AutoencoderKL:
    """AutoencoderKL of the Stable Diffusion kind, small: 4x down, 4 latent channels."""
    kinds = len(channels)
    vae = AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * kinds,
        up_block_types=("UpDecoderBlock2D",) * kinds,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
        force_upcast=False,
    )
    return vae.to(memory_format=torch.channels_last)


class Reconstruction(torch.nn.Module):
    """The autoencoder as one forward pass, so that several processes can average its gradients."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels from sampled latents, and the KL divergence per latent element."""
        posterior = self.vae.encode(pixels).latent_dist
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        return self.vae.decode(posterior.sample()).sample, kl


def scene_batch(rng: np.random.Generator, count: int) -> torch.Tensor:
    """Training scenes as float32 [count, 3, 64, 64] in [-1, 1]."""
    return to_pixels(np.stack([render(sample_scene(rng))[0] for _ in range(count)]))


def to_pixels(images: np.ndarray) -> torch.Tensor:
    """uint8 [batch, height, width, 3] -> float32 [batch, 3, height, width] in [-1, 1], channels last."""
    return (
        torch.from_numpy(images)
        .permute(0, 3, 1, 2)
        .float()
        .div(127.5)
        .sub(1)
        .contiguous(memory_format=torch.channels_last)
    )


def vae_loss(batch: int) -> Loss:
    """L1 + MSE + a light KL term on a `Reconstruction`, objects' edges weighted up."""

    def loss(model: torch.nn.Module, step: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        pixels = scene_batch(rng, batch).to(next(model.parameters()).device)
        restored, kl = model(pixels)
        error = restored.float() - pixels
        weight = 1 + 2 * _edges(pixels)
        rebuilt = (weight * (error.abs() + error.square())).mean()
        return {"loss": rebuilt + _KL_WEIGHT * kl, "rebuilt": rebuilt, "kl": kl}

    return loss


def _edges(pixels: torch.Tensor) -> torch.Tensor:
    """1 within two pixels of a change of colour, else 0: [batch, 1, height, width]."""
    spread = F.max_pool2d(pixels, 3, 1, 1) + F.max_pool2d(-pixels, 3, 1, 1)
    return (spread.amax(1, keepdim=True) > 0.1).float()


def latent_scale(vae: AutoencoderKL, scenes: int = 512) -> float:
    """1 / standard deviation of the latents: what `vae.config.scaling_factor` must be for latents of unit size."""
    pixels = scene_batch(np.random.default_rng(12345), scenes).to(vae.device)
    latents = torch.cat(list(encode_pixels(vae, pixels)))
    return float(1 / latents.float().std())


@torch.no_grad()
def encode_pixels(vae: AutoencoderKL, pixels: torch.Tensor, batch: int = 128) -> Iterator[torch.Tensor]:
    """Unscaled latent means, batch by batch."""
    for part in pixels.split(batch):
        yield vae.encode(part).latent_dist.mean
