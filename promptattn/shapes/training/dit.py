"""The second denoiser: an SD3Transformer2DModel on the UNet's latents and text encoder, by flow matching.

The stock pipeline without T5 appends 256 rows of zeros to the text. They carry no position, so they stay equal to one
another through every block, and as keys 256 equal rows are one row with log 256 added to its logit. Training therefore
runs on one such row and the model is used with all of them; the two agree to rounding.
"""

import math
from copy import deepcopy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import get_2d_sincos_pos_embed
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from promptattn.shapes.training.batches import LatentSet, draw_batch, empty_ids, logit_normal, object_error
from promptattn.shapes.training.loop import Loss
from promptattn.shapes.training.text import Codes
from promptattn.shapes.world import BACKGROUNDS, RELATIONS

__all__ = [
    "ZERO_ROWS",
    "CollapsedRowsProcessor",
    "TextPair",
    "build_flow_scheduler",
    "build_text_pair",
    "build_transformer",
    "flow_loss",
    "refine",
    "sample_sigmas",
]

ZERO_ROWS = 256
"""Rows of zeros that StableDiffusion3Pipeline puts in T5's place (its `max_sequence_length`)."""

_LOWER_LAYERS = 2


# -- text -----------------------------------------------------------------------------------------------------------


class TextPair(nn.Module):
    """The two CLIP encoders of an SD3 pipeline, read as its `encode_prompt` reads them."""

    def __init__(self, first: CLIPTextModelWithProjection, second: CLIPTextModelWithProjection) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, ids: torch.Tensor, zero_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """ids int64 [batch, WINDOW] -> text [batch, WINDOW + zero_rows, width], pooled [batch, pooled width]."""
        outs = [encoder(input_ids=ids, output_hidden_states=True) for encoder in (self.first, self.second)]
        text = torch.cat([out.hidden_states[-2] for out in outs], dim=-1)
        zeros = text.new_zeros(len(ids), zero_rows, text.shape[-1])
        return torch.cat([text, zeros], dim=1), torch.cat([out.text_embeds for out in outs], dim=-1)


def build_text_pair(trained: CLIPTextModel) -> TextPair:
    """Both encoders out of the trained one, frozen: all of it, and its lower layers.

    SD3 reads the states before the last layer. The first encoder therefore gets one layer more, which passes its input
    on: below it are the states the UNet was trained with, above it the pooled embedding. Pooled embeddings are the end
    token's share in the codes of relations and backgrounds: how a scene is laid out acts on every patch alike, while
    what its objects look like has to come through attention to words.
    """
    layers = trained.config.num_hidden_layers
    codes = Codes(trained.config.hidden_size)
    names = [
        *(f"relation:{name}" for name in (*RELATIONS, "and", "single", "nothing")),
        *(f"background:{name}" for name in (*BACKGROUNDS, "any")),
    ]
    readout = torch.from_numpy(np.stack([codes.sum((name,)) for name in names])) / trained.config.hidden_size**0.5
    first = _with_projection(trained, layers + 1, readout)
    last = first.text_model.encoder.layers[-1]
    for linear in (last.self_attn.out_proj, last.mlp.fc2):
        nn.init.zeros_(linear.weight)
        nn.init.zeros_(linear.bias)
    second = _with_projection(trained, min(_LOWER_LAYERS, layers), readout)
    return TextPair(first, second).requires_grad_(False).eval()


def _with_projection(trained: CLIPTextModel, layers: int, readout: torch.Tensor) -> CLIPTextModelWithProjection:
    config = deepcopy(trained.config)
    config.num_hidden_layers, config.projection_dim = layers, len(readout)
    model = CLIPTextModelWithProjection(config)
    names = model.state_dict().keys()
    model.load_state_dict({**_renamed(trained.state_dict(), names), "text_projection.weight": readout}, strict=False)
    return model


def _renamed(state: dict[str, torch.Tensor], names: Any) -> dict[str, torch.Tensor]:
    """The trained weights under the names that the model with a projection has; the rest is left out."""
    bare = {name.removeprefix("text_model."): value for name, value in state.items()}
    return {name: bare[short] for name in names if (short := name.removeprefix("text_model.")) in bare}


# -- denoiser -------------------------------------------------------------------------------------------------------


def build_transformer(
    patch: int = 1, width: int = 128, layers: int = 6, heads: int = 4, text_width: int = 256, pooled_width: int = 24
) -> SD3Transformer2DModel:
    """Joint attention over 16 / patch squared image rows and the text, initialised as DiT (Peebles & Xie 2023).

    The position of a patch of several cells is the mean of its cells' positions, so that `refine` keeps it.
    """
    model = SD3Transformer2DModel(
        sample_size=16,
        patch_size=patch,
        in_channels=4,
        out_channels=4,
        num_layers=layers,
        attention_head_dim=width // heads,
        num_attention_heads=heads,
        joint_attention_dim=text_width,
        caption_projection_dim=width,
        pooled_projection_dim=pooled_width,
        pos_embed_max_size=16 // patch,
        qk_norm="rms_norm",
    )
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Linear) and (".norm1" in name or name in ("norm_out.linear", "proj_out")):
            nn.init.zeros_(module.weight)
    nn.init.normal_(model.time_text_embed.timestep_embedder.linear_1.weight, std=0.02)
    nn.init.normal_(model.time_text_embed.timestep_embedder.linear_2.weight, std=0.02)
    cells = get_2d_sincos_pos_embed(width, 16, base_size=16).float().T.reshape(1, width, 16, 16)
    model.pos_embed.pos_embed.copy_(F.avg_pool2d(cells, patch).flatten(2).transpose(1, 2))
    return model


@torch.no_grad()
def refine(coarse: SD3Transformer2DModel, fine: SD3Transformer2DModel) -> SD3Transformer2DModel:
    """Fill `fine`, of the same size but patch 1, with what the coarser model has learned; returns `fine`.

    A cell goes in as a patch that is all this cell, and comes out as the mean of the patch's cells.
    """
    state, own = coarse.state_dict(), fine.state_dict()
    channels, width = fine.config.out_channels, fine.inner_dim
    state["pos_embed.pos_embed"] = own["pos_embed.pos_embed"]
    state["pos_embed.proj.weight"] = state["pos_embed.proj.weight"].sum((2, 3), keepdim=True)
    state["proj_out.weight"] = state["proj_out.weight"].view(-1, channels, width).mean(0)
    state["proj_out.bias"] = state["proj_out.bias"].view(-1, channels).mean(0)
    fine.load_state_dict(state)
    return fine


class CollapsedRowsProcessor:
    """SD3's joint attention where the last text row stands for `rows` equal ones; plain matmuls, for training.

    softmax over r equal logits s and the rest is softmax over one logit s + log r and the rest. On CPUs the fused
    kernel's backward in bfloat16 is slower than this.
    """

    def __init__(self, rows: int = ZERO_ROWS) -> None:
        self.extra = math.log(rows)

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, **_: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """hidden_states [batch, image, width], encoder_hidden_states [batch, text + 1, width]; the same back."""

        def heads(rows: torch.Tensor) -> torch.Tensor:
            return rows.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        image, text = hidden_states, encoder_hidden_states
        query = torch.cat([attn.norm_q(heads(attn.to_q(image))), attn.norm_added_q(heads(attn.add_q_proj(text)))], 2)
        key = torch.cat([attn.norm_k(heads(attn.to_k(image))), attn.norm_added_k(heads(attn.add_k_proj(text)))], 2)
        value = torch.cat([heads(attn.to_v(image)), heads(attn.add_v_proj(text))], 2)
        logits = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
        extra = logits.new_zeros(logits.shape[-1])
        extra[-1] = self.extra
        rows = (logits + extra).softmax(-1).to(value.dtype) @ value
        rows = rows.transpose(1, 2).flatten(2)
        image, text = rows[:, : image.shape[1]], rows[:, image.shape[1] :]
        return attn.to_out[0](image), text if attn.context_pre_only else attn.to_add_out(text)


# -- flow matching --------------------------------------------------------------------------------------------------


def build_flow_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Straight paths from noise to image (Liu 2023, Lipman 2023), stepped by Euler."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0)


def flow_loss(
    data: LatentSet, texts: TextPair, tokenizer: CLIPTokenizer, batch: int, object_weight: float = 1.0
) -> Loss:
    """Velocity error on the straight path between latents and noise, the objects' cells weighted up."""
    empty = empty_ids(tokenizer)

    def loss(model: nn.Module, step: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        device = next(model.parameters()).device
        latents, noise, ids, inside = draw_batch(data, rng, batch, empty, device)
        sigma = sample_sigmas(rng, batch).to(device)
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            text, pooled = texts(ids, zero_rows=1)
        noisy = torch.lerp(latents, noise, sigma[:, None, None, None])
        velocity = model(noisy, text, pooled, sigma * 1000).sample.float()
        return object_error((velocity - (noise - latents)).square().mean(1), inside, object_weight)

    return loss


def sample_sigmas(rng: np.random.Generator, count: int) -> torch.Tensor:
    """Noise levels float32 [count], most where a scene is laid out."""
    return torch.from_numpy(logit_normal(rng, count, mean=0.3, uniform=0.1).astype(np.float32))
