"""The denoiser: a UNet2DConditionModel of the Stable Diffusion kind on cached latents, predicting v."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from promptattn.shapes.draw import render
from promptattn.shapes.training.batches import LatentSet, draw_batch, empty_ids, logit_normal, object_error
from promptattn.shapes.training.loop import Loss, atomic_save
from promptattn.shapes.training.text import WINDOW, sample_pieces
from promptattn.shapes.training.vae import encode_pixels, to_pixels
from promptattn.shapes.world import sample_scene

__all__ = ["build_scheduler", "build_unet", "cache_latents", "unet_loss"]


def build_unet(
    channels: tuple[int, ...] = (64, 128), heads: tuple[int, ...] = (2, 4), text_width: int = 128, layers: int = 1
) -> UNet2DConditionModel:
    """Cross-attention at every resolution (16 x 16 and 8 x 8 for 64 x 64 pixels)."""
    kinds = len(channels)
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D",) * kinds,
        up_block_types=("CrossAttnUpBlock2D",) * kinds,
        mid_block_type="UNetMidBlock2DCrossAttn",
        layers_per_block=layers,
        attention_head_dim=heads,
        cross_attention_dim=text_width,
        norm_num_groups=16,
    )
    return unet.to(memory_format=torch.channels_last)


def build_scheduler() -> DDIMScheduler:
    """Linear noise (Ho 2020) and v-prediction (Salimans & Ho 2022).

    Stable Diffusion's own betas leave a plain background visible in 16 x 16 latents at the last timestep; these do not.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.0001,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def cache_latents(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, path: Path, scenes: int, captions: int = 4, seed: int = 1
) -> LatentSet:
    """Latents and tokenised captions of `scenes` training scenes, from `path` if it is there."""
    if not path.exists():
        atomic_save(_encode_scenes(vae, tokenizer, scenes, captions, seed), path)
    return LatentSet(**torch.load(path, weights_only=True))


def _encode_scenes(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, scenes: int, captions: int, seed: int, batch: int = 256
) -> dict[str, torch.Tensor]:
    latents, ids, objects = [], [], []
    for first in range(0, scenes, batch):
        rng = np.random.default_rng([seed, first])
        drawn = [sample_scene(rng) for _ in range(min(batch, scenes - first))]
        images, masks = zip(*[render(scene) for scene in drawn], strict=True)
        pixels = to_pixels(np.stack(images)).to(vae.device)
        latents.append(torch.cat(list(encode_pixels(vae, pixels))).mul(vae.config.scaling_factor).half().cpu())
        texts = ["".join(p.text for p in sample_pieces(rng, scene)[1]) for scene in drawn for _ in range(captions)]
        tokens = tokenizer(texts, padding="max_length", max_length=WINDOW, truncation=True, return_tensors="pt")
        ids.append(tokens.input_ids.to(torch.int16).view(len(drawn), captions, WINDOW))
        seen = torch.from_numpy(np.stack([mask.any(0) for mask in masks])).float()[:, None]
        objects.append(F.max_pool2d(seen, 4)[:, 0].bool())
    return {"latents": torch.cat(latents), "ids": torch.cat(ids), "objects": torch.cat(objects)}


def unet_loss(
    data: LatentSet, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, batch: int, object_weight: float = 1.0
) -> Loss:
    """v-prediction error, the objects' cells weighted up."""
    scheduler = build_scheduler()
    empty = empty_ids(tokenizer)

    def loss(model: torch.nn.Module, step: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        device = next(model.parameters()).device
        latents, noise, ids, inside = draw_batch(data, rng, batch, empty, device)
        timesteps = sample_timesteps(rng, batch, scheduler.config.num_train_timesteps).to(device)
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            text = text_encoder(input_ids=ids).last_hidden_state
        noisy = scheduler.add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
        predicted = model(noisy, timesteps, text).sample.float()
        error = (predicted - scheduler.get_velocity(latents, noise, timesteps)).square().mean(1)
        return object_error(error, inside, object_weight)

    return loss


def sample_timesteps(rng: np.random.Generator, count: int, steps: int) -> torch.Tensor:
    """Timesteps int64 [count], most where places and colours are decided."""
    share = logit_normal(rng, count, mean=0.1, uniform=0.15)
    return torch.from_numpy(np.clip((share * steps).astype(np.int64), 0, steps - 1))
