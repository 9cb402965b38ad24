"""Tiny random pipelines of the Stable Diffusion and SDXL kind, built from configs without the hub."""

import functools
from typing import Any

import diffusers
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

CORPUS = [
    "a photo of a red cat and a gray mouse on a blue table, masterpiece, best quality",
    "un gato rojo persigue a un ratón gris, junto a una estrella azul",
    "an ugly blurry picture of a house, a castle, a dog, and the green hills",
]
WINDOW = 77


@functools.cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A small byte-level BPE in CLIP's form: every word ends in `</w>`."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    import json

    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    letters = sorted(alphabet)
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}, merges


def clip_tokenizer(pad: str = "<|endoftext|>", window: int = WINDOW) -> Any:
    vocabulary, merges = _vocabulary()
    return transformers.CLIPTokenizer(
        vocab=dict(vocabulary), merges=list(merges), model_max_length=window, pad_token=pad
    )


def clip_text(*, projection: bool = False, layers: int = 3, seed: int = 0, window: int = WINDOW) -> Any:
    torch.manual_seed(seed)
    vocabulary, _ = _vocabulary()
    config = transformers.CLIPTextConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        vocab_size=len(vocabulary),
        max_position_embeddings=window,
        projection_dim=32,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
        # Random weights of the usual size hardly attend; larger ones give attention that is worth comparing.
        initializer_factor=4.0,
    )
    kind = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    return kind(config).eval()


def vae() -> Any:
    torch.manual_seed(0)
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
    ).eval()


def unet(text_width: int = 32, **extra: Any) -> Any:
    torch.manual_seed(0)
    options: dict[str, Any] = dict(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=text_width,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    model = diffusers.UNet2DConditionModel(**(options | extra)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".to_q." in name or ".to_k." in name:
                parameter.mul_(4)
    return model


def sd(**schedule: Any) -> Any:
    pipe = diffusers.StableDiffusionPipeline(
        vae=vae(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=unet(),
        scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False, **schedule),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sdxl(zeros: bool = True) -> Any:
    pipe = diffusers.StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=clip_text(),
        text_encoder_2=clip_text(projection=True, seed=1),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(pad="!"),
        unet=unet(
            64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32,
            transformer_layers_per_block=(1, 2),
            use_linear_projection=True,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(),
        force_zeros_for_empty_prompt=zeros,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


PIPELINES = {"sd": sd, "sdxl": sdxl}
