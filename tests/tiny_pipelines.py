"""Tiny random pipelines of the Stable Diffusion, SDXL, SD3 and Flux kind, built from configs without the hub."""

import functools
from typing import Any

import diffusers
import torch
import transformers
from tokenizers import pre_tokenizers
from vocabularies import byte_pairs, unigrams

CORPUS = [
    "a photo of a red cat and a gray mouse on a blue table, masterpiece, best quality",
    "un gato rojo persigue a un ratón gris, junto a una estrella azul",
    "an ugly blurry picture of a house, a castle, a dog, and the green hills",
]
WINDOW = 77
T5_WINDOW = 40


@functools.cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A small byte-level BPE in CLIP's form: every word ends in `</w>`."""
    cut = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    merges = byte_pairs(word for line in CORPUS for word, _ in cut.pre_tokenize_str(line))
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
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


@functools.cache
def _unigram() -> list[tuple[str, float]]:
    """A small Unigram vocabulary in T5's form: `<pad>` 0, `</s>` 1, `<unk>` 2, words begin with `▁`.

    The shorter words are whole; the others stay in pieces.
    """
    words = [word for line in CORPUS for word in line.split()]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    whole = sorted({f"▁{word.strip(',')}" for word in words if len(word.strip(",")) < 8})
    pieces = dict(unigrams(words)) | dict.fromkeys(whole, -3.0)
    return [*special, *pieces.items()]


def t5_tokenizer(window: int = T5_WINDOW) -> Any:
    return transformers.T5Tokenizer(vocab=_unigram(), extra_ids=0, model_max_length=window)


def t5_text(width: int = 32, *, kind: str = "t5", layers: int = 2, seed: int = 0) -> Any:
    """A T5 or UMT5 encoder; its last layers' position bias is as large as its scores, so that losing it shows."""
    torch.manual_seed(seed)
    config, model = {
        "t5": (transformers.T5Config, transformers.T5EncoderModel),
        "umt5": (transformers.UMT5Config, transformers.UMT5EncoderModel),
    }[kind]
    encoder = model(
        config(d_model=width, d_kv=8, d_ff=64, num_layers=layers, num_heads=4, vocab_size=len(_unigram()))
    ).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.endswith((".q.weight", ".k.weight")):
                parameter.mul_(1.5)
            if "relative_attention_bias" in name:
                parameter.mul_(width**0.5)
    return encoder


def vae(**extra: Any) -> Any:
    torch.manual_seed(0)
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        **extra,
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


def sd3_transformer(dual: tuple[int, ...] = ()) -> Any:
    torch.manual_seed(0)
    model = diffusers.SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=80,  # wider than the two CLIPs side by side, as in the real model
        pooled_projection_dim=64,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
        dual_attention_layers=dual,
    )
    return _sharpened(model)


def sd3(dual: tuple[int, ...] = (), t5: bool = True) -> Any:
    pipe = diffusers.StableDiffusion3Pipeline(
        vae=vae(shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip_text(projection=True),
        text_encoder_2=clip_text(projection=True, seed=1),
        text_encoder_3=t5_text(80) if t5 else None,
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(pad="!"),
        tokenizer_3=t5_tokenizer() if t5 else None,
        transformer=sd3_transformer(dual),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def flux_transformer(guidance: bool = True) -> Any:
    torch.manual_seed(0)
    model = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        guidance_embeds=guidance,
        axes_dims_rope=(4, 6, 6),
    )
    return _sharpened(model)


def flux(guidance: bool = True) -> Any:
    pipe = diffusers.FluxPipeline(
        vae=vae(shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip_text(),
        text_encoder_2=t5_text(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=t5_tokenizer(),
        transformer=flux_transformer(guidance),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _sharpened(model: Any) -> Any:
    """Queries and keys are normalised, so it is the norms' weights that make attention worth comparing."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith((".norm_q.weight", ".norm_k.weight", ".norm_added_q.weight", ".norm_added_k.weight")):
                parameter.mul_(1.5 + torch.rand_like(parameter))
    return model.eval()


PIPELINES = {"sd": sd, "sdxl": sdxl}
JOINT_PIPELINES = {
    "sd3": sd3,
    "sd3-dual": functools.partial(sd3, dual=(0, 1)),
    "sd3-no-t5": functools.partial(sd3, t5=False),
    "flux": flux,
}
