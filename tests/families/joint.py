"""Families whose denoiser attends jointly: text and image rows are queries and keys of one attention."""

import functools
from typing import Any

import diffusers
import tiny_pipelines
from families import autoencoders, language_tokenizers, text_encoders
from families.family import QUOTED, Family, seeded
from families.text_encoders import PRIOR_TOKENS, WIDTH
from tiny_pipelines import clip_text, clip_tokenizer, t5_text, t5_tokenizer


def _euler(**extra: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**extra)


def _double_and_single(**extra: Any) -> dict[str, Any]:
    """The sizes of a transformer of the Flux kind: blocks of two streams, then of one."""
    sizes = dict(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
    )
    return sizes | extra


def flux2() -> Any:
    return diffusers.Flux2Pipeline(
        scheduler=_euler(use_dynamic_shifting=True),
        vae=autoencoders.flux2(),
        text_encoder=text_encoders.mistral3(),
        tokenizer=language_tokenizers.mistral(),
        transformer=_flux2_transformer(guidance_embeds=True),
    )


def flux2_klein(distilled: bool = False) -> Any:
    return diffusers.Flux2KleinPipeline(
        scheduler=_euler(use_dynamic_shifting=True),
        vae=autoencoders.flux2(),
        text_encoder=text_encoders.qwen3(head=True),
        tokenizer=language_tokenizers.qwen(),
        transformer=_flux2_transformer(guidance_embeds=False),
        is_distilled=distilled,
    )


def _flux2_transformer(**extra: Any) -> Any:
    # Three layers of the encoder side by side.
    sizes = _double_and_single(joint_attention_dim=3 * WIDTH, timestep_guidance_channels=16)
    return seeded(diffusers.Flux2Transformer2DModel, **sizes | dict(axes_dims_rope=(4, 4, 4, 4)) | extra)


def chroma() -> Any:
    return diffusers.ChromaPipeline(
        scheduler=_euler(),
        vae=autoencoders.kl(plain=True),
        text_encoder=t5_text(),
        tokenizer=t5_tokenizer(),
        transformer=seeded(
            diffusers.ChromaTransformer2DModel,
            **_double_and_single(),
            approximator_num_channels=16,
            approximator_hidden_dim=16,
            approximator_layers=1,
        ),
    )


def aura_flow() -> Any:
    return diffusers.AuraFlowPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(kind="umt5"),
        vae=autoencoders.kl(),
        transformer=seeded(
            diffusers.AuraFlowTransformer2DModel,
            sample_size=32,
            patch_size=2,
            in_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=WIDTH,
            caption_projection_dim=32,
            pos_embed_max_size=1024,
        ),
        scheduler=_euler(),
    )


def bria() -> Any:
    return diffusers.BriaPipeline(
        transformer=seeded(diffusers.BriaTransformer2DModel, **_double_and_single()),
        scheduler=_euler(),
        vae=autoencoders.kl(plain=True),
        text_encoder=t5_text(),
        tokenizer=t5_tokenizer(),
    )


def bria_fibo() -> Any:
    return diffusers.BriaFiboPipeline(
        transformer=seeded(
            diffusers.BriaFiboTransformer2DModel,
            **_double_and_single(in_channels=4, joint_attention_dim=2 * WIDTH, text_encoder_dim=WIDTH),
        ),
        scheduler=_euler(use_dynamic_shifting=True),
        vae=autoencoders.wan_16(),
        text_encoder=text_encoders.smollm3(),
        tokenizer=language_tokenizers.smollm(),
    )


def ovis() -> Any:
    return diffusers.OvisImagePipeline(
        scheduler=_euler(use_dynamic_shifting=True),
        vae=autoencoders.kl(plain=True),
        text_encoder=text_encoders.qwen3(),
        tokenizer=language_tokenizers.qwen(),
        transformer=seeded(diffusers.OvisImageTransformer2DModel, **_double_and_single(out_channels=16)),
    )


def longcat() -> Any:
    return diffusers.LongCatImagePipeline(
        scheduler=_euler(use_dynamic_shifting=True),
        vae=autoencoders.kl(16, plain=True),
        text_encoder=text_encoders.qwen25_vl(),
        tokenizer=language_tokenizers.qwen(),
        # Reads pictures and rewrites prompts; neither is asked for.
        text_processor=language_tokenizers.qwen(),
        # The pipeline counts on sixteen channels of latents.
        transformer=seeded(
            diffusers.LongCatImageTransformer2DModel, **_double_and_single(in_channels=64, pooled_projection_dim=WIDTH)
        ),
    )


def hunyuan_image() -> Any:
    transformer = seeded(
        diffusers.HunyuanImageTransformer2DModel,
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        num_single_layers=2,
        num_refiner_layers=1,
        patch_size=(1, 1),
        text_embed_dim=WIDTH,
        text_embed_2_dim=WIDTH,
        rope_axes_dim=(8, 8),
    )
    return diffusers.HunyuanImagePipeline(
        scheduler=_euler(shift=7.0),
        vae=autoencoders.hunyuan_image(),
        text_encoder=text_encoders.qwen25_vl(),
        tokenizer=language_tokenizers.qwen(),
        text_encoder_2=text_encoders.byt5(),
        tokenizer_2=language_tokenizers.byt5(),
        transformer=transformer,
        guider=diffusers.AdaptiveProjectedMixGuidance(
            adaptive_projected_guidance_start_step=0, enabled=True, guidance_scale=3.5
        ),
        ocr_guider=diffusers.AdaptiveProjectedMixGuidance(
            adaptive_projected_guidance_start_step=0, enabled=True, guidance_scale=3.5
        ),
    )


def hidream() -> Any:
    transformer = seeded(
        diffusers.HiDreamImageTransformer2DModel,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_channels=[WIDTH, WIDTH],
        text_emb_dim=64,
        num_routed_experts=4,
        num_activated_experts=2,
        axes_dims_rope=(4, 2, 2),
        max_resolution=(32, 32),
        llama_layers=[0, 2, 2],
    )
    pipe = diffusers.HiDreamImagePipeline(
        scheduler=_euler(),
        vae=autoencoders.kl(plain=True),
        text_encoder=clip_text(projection=True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_text(projection=True, seed=1),
        tokenizer_2=clip_tokenizer(pad="!"),
        text_encoder_3=t5_text(),
        tokenizer_3=t5_tokenizer(),
        text_encoder_4=text_encoders.llama(),
        tokenizer_4=language_tokenizers.llama3(),
        transformer=transformer,
    )
    # Images are brought to about this many latent pixels squared, whatever size is asked for.
    pipe.default_sample_size = 20
    return pipe


def qwen_image() -> Any:
    return diffusers.QwenImagePipeline(
        scheduler=_euler(use_dynamic_shifting=True),
        vae=autoencoders.qwen_image(),
        text_encoder=text_encoders.qwen25_vl(),
        tokenizer=language_tokenizers.qwen(),
        transformer=seeded(
            diffusers.QwenImageTransformer2DModel,
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(8, 4, 4),
        ),
    )


def cogview3_plus() -> Any:
    return diffusers.CogView3PlusPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5_text(),
        vae=autoencoders.kl(),
        transformer=seeded(
            diffusers.CogView3PlusTransformer2DModel,
            **_cogview(pos_embed_max_size=32, sample_size=16),
        ),
        scheduler=diffusers.CogVideoXDDIMScheduler(
            prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
        ),
    )


def _cogview(**extra: Any) -> dict[str, Any]:
    sizes = dict(
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        text_embed_dim=WIDTH,
        time_embed_dim=16,
        condition_dim=4,
    )
    return sizes | extra


def cogview4() -> Any:
    return diffusers.CogView4Pipeline(
        tokenizer=language_tokenizers.glm(),
        text_encoder=text_encoders.glm(),
        vae=autoencoders.kl(),
        transformer=seeded(
            diffusers.CogView4Transformer2DModel,
            **_cogview(pos_embed_max_size=32, sample_size=16, rope_axes_dim=(32, 32)),
        ),
        scheduler=_euler(use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, time_shift_type="linear"),
    )


def glm_image() -> Any:
    """An autoregressive model writes prior tokens from the prompt; the denoiser reads those, and texts in quotes."""
    return diffusers.GlmImagePipeline(
        tokenizer=language_tokenizers.byt5(),
        processor=language_tokenizers.glm_image_processor(),
        text_encoder=text_encoders.byt5(),
        vision_language_encoder=text_encoders.glm_image(),
        # Prior tokens stand for 32 pixels to a side, and are doubled: so many the autoencoder and the patches must be.
        vae=autoencoders.kl(levels=4, latents_mean=[0.0] * 4, latents_std=[1.0] * 4),
        transformer=seeded(
            diffusers.GlmImageTransformer2DModel, **_cogview(), prior_vq_quantizer_codebook_size=PRIOR_TOKENS
        ),
        scheduler=_euler(use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, time_shift_type="linear"),
    )


FAMILIES = {
    "sd3": Family(tiny_pipelines.sd3, dict(guidance_scale=5.0)),
    "sd3.5-dual": Family(functools.partial(tiny_pipelines.sd3, dual=(0, 1)), dict(guidance_scale=5.0)),
    "flux": Family(tiny_pipelines.flux, dict(max_sequence_length=32), negative=False),
    "flux-true-cfg": Family(tiny_pipelines.flux, dict(max_sequence_length=32, true_cfg_scale=3.0)),
    "flux2": Family(flux2, dict(text_encoder_out_layers=(1, 2, 3), max_sequence_length=128), negative=False),
    "flux2-klein": Family(flux2_klein, dict(text_encoder_out_layers=(1, 2, 3), max_sequence_length=64), negative=False),
    "flux2-klein-distilled": Family(
        functools.partial(flux2_klein, distilled=True),
        dict(text_encoder_out_layers=(1, 2, 3), max_sequence_length=64),
        negative=False,
    ),
    "chroma": Family(chroma, dict(guidance_scale=4.0, max_sequence_length=40)),
    "aura-flow": Family(aura_flow, dict(guidance_scale=4.0, max_sequence_length=40)),
    "bria": Family(bria, dict(guidance_scale=4.0, max_sequence_length=40)),
    "bria-fibo": Family(bria_fibo, dict(guidance_scale=4.0, max_sequence_length=64, height=256, width=384)),
    "ovis": Family(ovis, dict(guidance_scale=4.0, max_sequence_length=48)),
    "longcat": Family(longcat, dict(guidance_scale=4.0, enable_prompt_rewrite=False)),
    "hunyuan-image": Family(hunyuan_image, prompts=QUOTED),
    "hidream": Family(hidream, dict(guidance_scale=4.0, max_sequence_length=40)),
    "qwen-image": Family(qwen_image, dict(true_cfg_scale=3.0)),
    "cogview3-plus": Family(cogview3_plus, dict(guidance_scale=4.0, max_sequence_length=40)),
    "cogview4": Family(cogview4, dict(guidance_scale=4.0)),
    "glm-image": Family(
        glm_image,
        dict(guidance_scale=1.5, max_sequence_length=64, height=64, width=96),
        negative=False,
        prompts=QUOTED,
    ),
}
