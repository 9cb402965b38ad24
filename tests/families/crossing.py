"""Families whose denoiser is a transformer over image rows that attends to the text beside it (cross-attention)."""

from typing import Any

import diffusers
from families import autoencoders, language_tokenizers, text_encoders
from families.family import Family, opened, seeded
from families.text_encoders import WIDTH
from tiny_pipelines import clip_text, clip_tokenizer, t5_text, t5_tokenizer


def _pixart_transformer(**extra: Any) -> Any:
    return seeded(
        diffusers.PixArtTransformer2DModel,
        sample_size=16,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_channels=WIDTH,
        in_channels=4,
        cross_attention_dim=32,
        out_channels=8,
        **extra,
    )


def pixart_alpha() -> Any:
    """The first PixArt is told resolution and aspect ratio beside the time."""
    return diffusers.PixArtAlphaPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(),
        vae=autoencoders.kl(),
        transformer=_pixart_transformer(use_additional_conditions=False),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


def pixart_sigma() -> Any:
    return diffusers.PixArtSigmaPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(),
        vae=autoencoders.kl(),
        transformer=_pixart_transformer(use_additional_conditions=False),
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


def _sana_transformer(**extra: Any) -> Any:
    return seeded(
        diffusers.SanaTransformer2DModel,
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=WIDTH,
        sample_size=16,
        patch_size=1,
        **extra,
    )


def sana() -> Any:
    return diffusers.SanaPipeline(
        tokenizer=language_tokenizers.gemma(),
        text_encoder=text_encoders.gemma2(),
        vae=autoencoders.deep_compression(),
        transformer=_sana_transformer(),
        scheduler=diffusers.DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )


def sana_sprint() -> Any:
    return diffusers.SanaSprintPipeline(
        tokenizer=language_tokenizers.gemma(),
        text_encoder=text_encoders.gemma2(),
        vae=autoencoders.deep_compression(),
        transformer=_sana_transformer(guidance_embeds=True, qk_norm="rms_norm_across_heads"),
        scheduler=diffusers.SCMScheduler(),
    )


def hunyuan_dit() -> Any:
    transformer = seeded(
        diffusers.HunyuanDiT2DModel,
        sample_size=16,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        in_channels=4,
        cross_attention_dim=WIDTH,
        cross_attention_dim_t5=WIDTH,
        pooled_projection_dim=16,
        hidden_size=24,
        activation_fn="gelu-approximate",
        text_len=77,
        text_len_t5=256,
    )
    return diffusers.HunyuanDiTPipeline(
        # The pipeline counts on eight pixels to a side of a latent.
        vae=autoencoders.kl(levels=4),
        text_encoder=text_encoders.bert(),
        tokenizer=language_tokenizers.bert(77),
        transformer=transformer,
        scheduler=diffusers.DDPMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        text_encoder_2=t5_text(),
        tokenizer_2=t5_tokenizer(256),
    )


def lumina() -> Any:
    transformer = seeded(
        diffusers.LuminaNextDiT2DModel,
        sample_size=16,
        patch_size=2,
        in_channels=4,
        hidden_size=32,
        num_layers=2,
        num_attention_heads=4,
        num_kv_heads=2,
        multiple_of=16,
        cross_attention_dim=WIDTH,
    )
    opened(transformer)
    return diffusers.LuminaPipeline(
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        # The pipeline counts on eight pixels to a side of a latent.
        vae=autoencoders.kl(levels=4),
        text_encoder=text_encoders.gemma(),
        tokenizer=language_tokenizers.gemma(),
    )


def _prx_transformer(channels: int, **extra: Any) -> Any:
    model = seeded(
        diffusers.PRXTransformer2DModel,
        in_channels=channels,
        patch_size=2,
        context_in_dim=WIDTH,
        hidden_size=32,
        num_heads=2,
        depth=2,
        axes_dim=[8, 8],
        **extra,
    )
    return opened(model)


def prx() -> Any:
    return diffusers.PRXPipeline(
        transformer=_prx_transformer(4),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=text_encoders.t5_gemma(),
        tokenizer=language_tokenizers.gemma(64),
        vae=autoencoders.kl(plain=True),
    )


def prx_pixel() -> Any:
    return diffusers.PRXPixelPipeline(
        transformer=_prx_transformer(3, bottleneck_size=16, resolution_embeds=True),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        text_encoder=text_encoders.qwen3(),
        tokenizer=language_tokenizers.qwen(64),
        prompt_max_tokens=64,
    )


def kandinsky5() -> Any:
    pipe = diffusers.Kandinsky5T2IPipeline(
        transformer=seeded(
            diffusers.Kandinsky5Transformer3DModel,
            in_visual_dim=4,
            out_visual_dim=4,
            in_text_dim=WIDTH,
            in_text_dim2=32,
            time_dim=16,
            model_dim=32,
            ff_dim=48,
            num_text_blocks=1,
            num_visual_blocks=2,
            axes_dims=(4, 6, 6),
        ),
        # The pipeline counts on eight pixels to a side of a latent.
        vae=autoencoders.kl(levels=4),
        text_encoder=text_encoders.qwen25_vl(),
        tokenizer=language_tokenizers.qwen_vl_processor(),
        text_encoder_2=clip_text(),
        tokenizer_2=clip_tokenizer(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    opened(pipe.transformer)
    # Other sizes, (width, height), are brought to the nearest of those it was trained on.
    pipe.resolutions = [(192, 128)]
    return pipe


BINNED = dict(use_resolution_binning=False)
FAMILIES = {
    "pixart-alpha": Family(pixart_alpha, dict(guidance_scale=4.0, max_sequence_length=40) | BINNED),
    "pixart-sigma": Family(pixart_sigma, dict(guidance_scale=4.0, max_sequence_length=40) | BINNED),
    "sana": Family(sana, dict(guidance_scale=4.0, max_sequence_length=40, width=64) | BINNED),
    "sana-sprint": Family(
        sana_sprint, dict(guidance_scale=4.0, max_sequence_length=40, width=64) | BINNED, negative=False
    ),
    "hunyuan-dit": Family(hunyuan_dit, dict(guidance_scale=4.0, height=64, width=96) | BINNED),
    "lumina": Family(lumina, dict(guidance_scale=4.0, max_sequence_length=40, height=128, width=192)),
    "kandinsky-5": Family(kandinsky5, dict(guidance_scale=4.0, height=128, width=192)),
    "prx": Family(prx, dict(guidance_scale=4.0) | BINNED, requires="ftfy"),
    "prx-pixel": Family(prx_pixel, dict(guidance_scale=4.0) | BINNED, requires="ftfy"),
}
