"""Tiny random autoencoders of the kinds that text-to-image pipelines decode their latents with."""

from typing import Any

import diffusers
import torch


def _made(kind: type, **options: Any) -> Any:
    torch.manual_seed(0)
    return kind(**options).eval()


def kl(channels: int = 4, *, levels: int = 2, plain: bool = False, **extra: Any) -> Any:
    """`plain`: without the convolutions around the latents and with a shift, as flow-matching models have it."""
    modern = dict(use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06) if plain else {}
    return _made(
        diffusers.AutoencoderKL,
        block_out_channels=(8,) * levels,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=channels,
        **modern | extra,
    )


def flux2(channels: int = 4, levels: int = 2) -> Any:
    return _made(
        diffusers.AutoencoderKLFlux2,
        block_out_channels=(8,) * levels,
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=channels,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def qwen_image(channels: int = 4) -> Any:
    return _made(
        diffusers.AutoencoderKLQwenImage,
        base_dim=8,
        z_dim=channels,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * channels,
        latents_std=[1.0] * channels,
    )


def qwen_image21(channels: int = 4) -> Any:
    return _made(
        diffusers.AutoencoderKLQwenImage21,
        base_dim=8,
        decoder_base_dim=8,
        z_dim=channels,
        dim_mult=[1, 1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True, True],
        latents_mean=[0.0] * channels,
        latents_std=[1.0] * channels,
    )


def wan_16(channels: int = 4) -> Any:
    """The second generation: sixteen pixels to a side of a latent, two of which are packed at the door."""
    return _made(
        diffusers.AutoencoderKLWan,
        base_dim=4,
        z_dim=channels,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[0.0] * channels,
        latents_std=[1.0] * channels,
    )


def deep_compression(channels: int = 4) -> Any:
    return _made(
        diffusers.AutoencoderDC,
        latent_channels=channels,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41,
    )


def hunyuan_image(channels: int = 4) -> Any:
    return _made(
        diffusers.AutoencoderKLHunyuanImage,
        in_channels=3,
        out_channels=3,
        latent_channels=channels,
        block_out_channels=(32, 32),
        layers_per_block=1,
        spatial_compression_ratio=2,
        sample_size=32,
        scaling_factor=0.75,
        downsample_match_channel=False,
        upsample_match_channel=False,
    )


def movq(channels: int = 4, levels: int = 2) -> Any:
    """The autoencoder of Kandinsky 2 and 3."""
    return _made(
        diffusers.VQModel,
        block_out_channels=[32] * levels,
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["AttnUpDecoderBlock2D"] * levels,
        latent_channels=channels,
        num_vq_embeddings=12,
        norm_num_groups=32,
        norm_type="spatial",
        vq_embed_dim=channels,
    )


def tiny(channels: int = 4) -> Any:
    return _made(
        diffusers.AutoencoderTiny,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=channels,
    )


def paella(channels: int = 4) -> Any:
    """The autoencoder of Stable Cascade."""
    from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel

    return _made(PaellaVQModel, bottleneck_blocks=1, num_vq_embeddings=4, latent_channels=channels, embed_dim=8)
