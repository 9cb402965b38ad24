"""Pipelines of three kinds at their real sizes, with random weights: nothing has to be downloaded.

What attention costs depends on the number of heads and their width, on image places and rows of text, and on the width
of the projections beside it: these are the real models'. Depth only repeats it, so that unless the scale is `full` one
or two blocks of each sort stand for all, and a step fits a processor. Text encoders have the real
number of rows and channels, but one or two layers. `tiny` is for trying a script out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import transformers

from promptattn.shapes.weights import weights_folder

__all__ = ["KINDS", "Scale", "Subject", "build"]

PROMPT = "a red cat chasing a gray mouse past a blue star, a circle and a square on a white background"
WORDS = ("red", "cat", "gray", "mouse")


@dataclass(frozen=True)
class Scale:
    """How large a model is to be.

    pixels: height and width of the image.
    full: all blocks and layers, instead of one or two of each sort.
    tiny: little width and depth, for trying a script out.
    """

    pixels: int = 512
    full: bool = False
    tiny: bool = False


@dataclass(frozen=True, eq=False)
class Subject:
    """A pipeline with a prompt, ready to be called.

    kind: one of `KINDS`.
    options: what the pipeline is called with besides text, steps and seed.
    words: four words of the prompt.
    described: the sizes that matter, in words.
    """

    kind: str
    pipe: Any
    options: dict[str, Any]
    described: str
    prompt: str = PROMPT
    words: tuple[str, ...] = WORDS

    @property
    def denoiser(self) -> torch.nn.Module:
        denoiser = getattr(self.pipe, "unet", None)
        return self.pipe.transformer if denoiser is None else denoiser

    def paint(self, steps: int, **text: Any) -> torch.Tensor:
        """The final latents, for text given as the pipeline's own arguments; always from the same noise."""
        generator = torch.Generator("cpu").manual_seed(0)
        return self.pipe(
            **text, **self.options, num_inference_steps=steps, generator=generator, output_type="latent"
        ).images

    def plain(self, steps: int) -> torch.Tensor:
        """The final latents of the prompt as the pipeline makes them by itself."""
        return self.paint(steps, prompt=self.prompt)


def build(kind: str, scale: Scale, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Subject:
    """A subject of one of the `KINDS`, on the device."""
    torch.manual_seed(0)
    with _default_dtype(dtype), torch.device(device):
        subject = KINDS[kind](scale)
    subject.pipe.to(device)
    subject.pipe.set_progress_bar_config(disable=True)
    return subject


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Weights are made in this dtype at once: in float32 the largest model would need twice the memory."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


# --- the kinds ------------------------------------------------------------------------------------


def _unet(scale: Scale) -> Subject:
    """Stable Diffusion 1.x."""
    width, layers = 32 if scale.tiny else 768, 2 if scale.full and not scale.tiny else 1
    model = diffusers.UNet2DConditionModel(
        sample_size=64,
        cross_attention_dim=width,
        attention_head_dim=8,
        block_out_channels=(320, 640, 1280, 1280) if not scale.tiny else (32, 32, 32, 32),
        layers_per_block=layers,
    ).eval()
    pipe = diffusers.StableDiffusionPipeline(
        vae=_vae(4),
        text_encoder=_clip(width),
        tokenizer=_clip_tokenizer(),
        unet=model,
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    described = f"{layers} of 2 layers in each block, {(scale.pixels // 8) ** 2} image places, 77 rows of text"
    return Subject("unet", pipe, _square(scale), described)


def _sd3(scale: Scale) -> Subject:
    """Stable Diffusion 3 medium."""
    heads, dim, blocks = (4, 16, 2) if scale.tiny else (24, 64, 24 if scale.full else 2)
    first, second, third = (32, 32, 64) if scale.tiny else (768, 1280, 4096)
    model = diffusers.SD3Transformer2DModel(
        sample_size=128,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=blocks,
        attention_head_dim=dim,
        num_attention_heads=heads,
        caption_projection_dim=heads * dim,
        joint_attention_dim=third,
        pooled_projection_dim=first + second,
        pos_embed_max_size=192,
    ).eval()
    pipe = diffusers.StableDiffusion3Pipeline(
        vae=_vae(16, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip(first, projection=True),
        text_encoder_2=_clip(second, projection=True),
        text_encoder_3=_t5(third),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        tokenizer_3=_t5_tokenizer(256),
        transformer=model,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    described = f"{blocks} of 24 blocks, {(scale.pixels // 16) ** 2} image places, 77 + 256 rows of text"
    return Subject("sd3", pipe, _square(scale), described)


def _flux(scale: Scale) -> Subject:
    """Flux.1-dev."""
    heads, dim = (2, 32) if scale.tiny else (24, 128)
    double, single = (19, 38) if scale.full and not scale.tiny else (1, 1)
    width, pooled = (64, 32) if scale.tiny else (4096, 768)
    model = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=double,
        num_single_layers=single,
        attention_head_dim=dim,
        num_attention_heads=heads,
        joint_attention_dim=width,
        pooled_projection_dim=pooled,
        guidance_embeds=True,
        axes_dims_rope=(dim // 8, 7 * dim // 16, 7 * dim // 16),
    ).eval()
    pipe = diffusers.FluxPipeline(
        vae=_vae(16, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=_clip(pooled),
        text_encoder_2=_t5(width),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_t5_tokenizer(512),
        transformer=model,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )
    blocks = f"{double} of 19 double and {single} of 38 single blocks"
    described = f"{blocks}, {(scale.pixels // 16) ** 2} image places, 512 rows of text"
    return Subject("flux", pipe, _square(scale), described)


KINDS: dict[str, Callable[[Scale], Subject]] = {"unet": _unet, "sd3": _sd3, "flux": _flux}


# --- the parts ------------------------------------------------------------------------------------


def _square(scale: Scale) -> dict[str, Any]:
    return {"height": scale.pixels, "width": scale.pixels}


def _vae(channels: int, **options: Any) -> Any:
    """Never asked to paint; it says how many channels latents have, and that they are an eighth as wide as images."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        **options,
    ).eval()


def _clip_tokenizer() -> Any:
    return transformers.CLIPTokenizer.from_pretrained(weights_folder() / "tokenizer", model_max_length=77)


def _clip(width: int, *, projection: bool = False) -> Any:
    tokenizer = _clip_tokenizer()
    config = transformers.CLIPTextConfig(
        hidden_size=width,
        projection_dim=width,
        intermediate_size=4 * width,
        num_hidden_layers=2,  # the pipelines of Stable Diffusion 3 read the last but one
        num_attention_heads=max(width // 64, 2),
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    kind = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    return kind(config).eval()


def _pieces() -> list[tuple[str, float]]:
    """A Unigram vocabulary in T5's form: the words of the prompt, and letters for all else."""
    words = dict.fromkeys(f"▁{word.strip(',')}" for word in PROMPT.split())
    letters = dict.fromkeys("▁,." + "abcdefghijklmnopqrstuvwxyz")
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return special + [(piece, -3.0) for piece in words] + [(piece, -9.0) for piece in letters if piece not in words]


def _t5_tokenizer(rows: int) -> Any:
    return transformers.T5Tokenizer(vocab=_pieces(), extra_ids=0, model_max_length=rows)


def _t5(width: int) -> Any:
    config = transformers.T5Config(
        d_model=width, d_kv=64, d_ff=width, num_layers=1, num_heads=max(width // 64, 1), vocab_size=len(_pieces())
    )
    return transformers.T5EncoderModel(config).eval()
