"""Families that put text and image into one sequence and run one stream of blocks over it."""

import functools
import types
from typing import Any

import diffusers
import torch
from families import autoencoders, language_tokenizers, text_encoders
from families.family import Family, seeded
from families.text_encoders import WIDTH


def _euler(**extra: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**extra)


def lumina2() -> Any:
    transformer = seeded(
        diffusers.Lumina2Transformer2DModel,
        sample_size=16,
        patch_size=2,
        in_channels=4,
        hidden_size=24,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=16,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(300, 64, 64),
        cap_feat_dim=WIDTH,
    )
    return diffusers.Lumina2Pipeline(
        transformer=transformer,
        scheduler=_euler(),
        # The pipeline counts on eight pixels to a side of a latent.
        vae=autoencoders.kl(levels=4, plain=True),
        text_encoder=text_encoders.gemma2(),
        tokenizer=language_tokenizers.gemma(),
    )


def z_image() -> Any:
    transformer = seeded(
        diffusers.ZImageTransformer2DModel,
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[8, 4, 4],
        axes_lens=[512, 64, 64],
    )
    with torch.no_grad():
        # Padding tokens are left as the memory was.
        transformer.x_pad_token.normal_()
        transformer.cap_pad_token.normal_()
    return diffusers.ZImagePipeline(
        scheduler=_euler(use_dynamic_shifting=True),
        vae=autoencoders.kl(plain=True),
        text_encoder=text_encoders.qwen3(),
        tokenizer=language_tokenizers.qwen(),
        transformer=transformer,
    )


def ernie() -> Any:
    transformer = seeded(
        diffusers.ErnieImageTransformer2DModel,
        hidden_size=32,
        num_attention_heads=2,
        num_layers=2,
        ffn_hidden_size=48,
        in_channels=16,
        out_channels=16,
        text_in_dim=WIDTH,
        rope_axes_dim=(4, 6, 6),
    )
    with torch.no_grad():
        for parameter in transformer.parameters():
            if not parameter.any():
                # It begins with nothing of what its layers do, nor with anything of its text.
                parameter.normal_(std=0.1)
    return diffusers.ErnieImagePipeline(
        transformer=transformer,
        vae=autoencoders.flux2(),
        text_encoder=text_encoders.mistral3(head=False),
        tokenizer=language_tokenizers.mistral(),
        scheduler=_euler(),
    )


def krea2(distilled: bool = False) -> Any:
    transformer = seeded(
        diffusers.Krea2Transformer2DModel,
        in_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=48,
        timestep_embed_dim=16,
        text_hidden_dim=WIDTH,
        num_text_layers=3,
        text_num_attention_heads=2,
        text_num_key_value_heads=2,
        text_intermediate_size=48,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 6, 6),
    )
    return diffusers.Krea2Pipeline(
        scheduler=_euler(use_dynamic_shifting=True),
        vae=autoencoders.qwen_image(),
        text_encoder=text_encoders.qwen3_vl(head=False),
        tokenizer=language_tokenizers.qwen(),
        transformer=transformer,
        text_encoder_select_layers=(1, 2, 3),
        is_distilled=distilled,
    )


def ideogram4() -> Any:
    layers = diffusers.pipelines.ideogram4.pipeline_ideogram4.QWEN3_VL_ACTIVATION_LAYERS
    sizes = dict(
        in_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        intermediate_size=48,
        adaln_dim=16,
        llm_features_dim=len(layers) * WIDTH,
        mrope_section=(4, 2, 2),
    )
    return diffusers.Ideogram4Pipeline(
        scheduler=_euler(),
        vae=autoencoders.flux2(),
        text_encoder=text_encoders.qwen3_vl(head=False, layers=max(layers) + 1),
        tokenizer=language_tokenizers.qwen(),
        transformer=seeded(diffusers.Ideogram4Transformer2DModel, **sizes),
        unconditional_transformer=seeded(diffusers.Ideogram4Transformer2DModel, **sizes),
    )


def nucleus_moe() -> Any:
    transformer = seeded(
        diffusers.NucleusMoEImageTransformer2DModel,
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
        num_experts=4,
        moe_intermediate_dim=16,
        capacity_factors=2.0,
    )
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if "expert" in name:
                # Left as the memory was.
                parameter.normal_(std=0.1)
    return diffusers.NucleusMoEImagePipeline(
        transformer=transformer,
        scheduler=_euler(use_dynamic_shifting=True),
        vae=autoencoders.qwen_image(),
        # The pipeline reads the eighth layer from the end.
        text_encoder=text_encoders.qwen3_vl(layers=9),
        processor=language_tokenizers.qwen_vl_processor(),
    )


def omnigen() -> Any:
    """Its denoiser is its text encoder: token ids go in beside the image's rows."""
    from diffusers.pipelines.omnigen import pipeline_omnigen, processor_omnigen

    if not hasattr(processor_omnigen, "transforms"):
        # Without torchvision all it lacks is the reader of input pictures, which nobody here gives it.
        reader = types.SimpleNamespace(Compose=list, Lambda=id, ToTensor=object, Normalize=dict)
        processor_omnigen.transforms = reader
        pipeline_omnigen.OmniGenMultiModalProcessor = processor_omnigen.OmniGenMultiModalProcessor
    transformer = seeded(
        diffusers.OmniGenTransformer2DModel,
        in_channels=4,
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=32,
        num_layers=2,
        pad_token_id=0,
        vocab_size=800,
        max_position_embeddings=1024,
        time_step_dim=16,
        rope_scaling={"long_factor": list(range(1, 5)), "short_factor": list(range(1, 5))},
    )
    return diffusers.OmniGenPipeline(
        transformer=transformer,
        scheduler=_euler(invert_sigmas=True, num_train_timesteps=1),
        # The pipeline counts on eight pixels to a side of a latent.
        vae=autoencoders.kl(levels=4),
        tokenizer=language_tokenizers.llama_pieces(),
    )


def qwen_image21() -> Any:
    return diffusers.QwenImage21Pipeline(
        scheduler=_euler(use_dynamic_shifting=True),
        vae=autoencoders.qwen_image21(),
        text_encoder=text_encoders.qwen3_vl(),
        processor=language_tokenizers.qwen_vl_processor(),
        transformer=seeded(
            diffusers.QwenImage21Transformer2DModel,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            context_in_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
        ),
    )


def bria_fibo2() -> Any:
    pipe = diffusers.BriaFibo2Pipeline(
        transformer=seeded(
            diffusers.BriaFibo2Transformer2DModel,
            in_channels=4,
            dim=32,
            n_layers=3,
            n_refiner_layers=1,
            n_heads=2,
            cap_feat_dim=3 * WIDTH,
            injection_layer_ids=(1,),
            perceiver_num_layers=1,
            min_num_gist_tokens=8,
            max_num_gist_tokens=16,
            gist_step=8,
            gist_min_text_len=8,
            gist_max_text_len=64,
            axes_dims=(4, 6, 6),
            axes_lens=(2048, 64, 64),
        ),
        scheduler=_euler(use_dynamic_shifting=True),
        vae=autoencoders.flux2(),
        text_encoder=text_encoders.qwen3_vl(),
        processor=language_tokenizers.qwen_vl_processor(),
    )
    # Three layers of the encoder for the first block, and three for each injection.
    pipe.text_encoder_out_layers = ((1, 2, 3), (1, 2, 3))
    return pipe


FAMILIES = {
    "lumina2": Family(lumina2, dict(guidance_scale=4.0, max_sequence_length=64, height=128, width=192)),
    "z-image": Family(z_image, dict(guidance_scale=4.0, max_sequence_length=96)),
    "ernie": Family(ernie, dict(guidance_scale=4.0, use_pe=False)),
    "krea2": Family(krea2, dict(guidance_scale=4.0, max_sequence_length=64)),
    "krea2-distilled": Family(
        functools.partial(krea2, distilled=True), dict(guidance_scale=0.0, max_sequence_length=64), negative=False
    ),
    "ideogram4": Family(
        ideogram4, dict(guidance_scale=4.0, guidance_schedule=None, max_sequence_length=64), negative=False
    ),
    "nucleus-moe": Family(nucleus_moe, dict(guidance_scale=4.0)),
    "omnigen": Family(omnigen, dict(guidance_scale=3.0, height=128, width=192), negative=False),
    "qwen-image-2.1": Family(qwen_image21, dict(true_cfg_scale=3.0, height=128, width=192)),
    "bria-fibo2": Family(bria_fibo2, dict(guidance_scale=4.0)),
}
