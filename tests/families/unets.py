"""Families whose denoiser is a UNet: text is attended to in cross-attention layers among convolutions."""

from typing import Any

import diffusers
import torch
import transformers
from families import autoencoders, language_tokenizers, text_encoders
from families.family import ABSENT, HEIGHT, WIDTH, Family, seeded
from tiny_pipelines import clip_text, clip_tokenizer, sd, sdxl, t5_text, t5_tokenizer, unet

NO_CHECKER = dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def sd2() -> Any:
    """Stable Diffusion 2: one linear layer instead of a convolution, as many heads as fit, v-prediction."""
    return diffusers.StableDiffusionPipeline(
        vae=autoencoders.kl(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(pad="!"),
        unet=unet(attention_head_dim=(2, 4), use_linear_projection=True),
        scheduler=diffusers.DDIMScheduler(prediction_type="v_prediction", clip_sample=False, steps_offset=1),
        **NO_CHECKER,
    )


def sdxl_refiner() -> Any:
    """It takes up an image where the base model has left it, so it is the image-to-image pipeline that runs it."""
    return diffusers.StableDiffusionXLImg2ImgPipeline(
        vae=autoencoders.kl(),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=clip_text(projection=True, seed=1),
        tokenizer_2=clip_tokenizer(pad="!"),
        unet=unet(
            32,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            # The refiner is told size, crop and aesthetic score: five numbers instead of six.
            projection_class_embeddings_input_dim=5 * 8 + 32,
            use_linear_projection=True,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(),
        requires_aesthetics_score=True,
    )


def latent_consistency() -> Any:
    return diffusers.LatentConsistencyModelPipeline(
        vae=autoencoders.kl(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=unet(time_cond_proj_dim=16),
        scheduler=diffusers.LCMScheduler(original_inference_steps=10),
        **NO_CHECKER,
    )


def alt_diffusion() -> Any:
    from diffusers.pipelines.deprecated.alt_diffusion.pipeline_alt_diffusion import AltDiffusionPipeline

    return AltDiffusionPipeline(
        vae=autoencoders.kl(),
        text_encoder=text_encoders.roberta_series(),
        tokenizer=language_tokenizers.xlm_roberta(),
        unet=unet(32),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, steps_offset=1),
        **NO_CHECKER,
    )


def kolors() -> Any:
    # diffusers' own namespace has it only where sentencepiece is installed.
    from diffusers.pipelines.kolors.pipeline_kolors import KolorsPipeline

    return KolorsPipeline(
        vae=autoencoders.kl(),
        text_encoder=text_encoders.chatglm(),
        tokenizer=language_tokenizers.chatglm(),
        unet=unet(
            32,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + text_encoders.WIDTH,
            encoder_hid_dim=text_encoders.WIDTH,
            encoder_hid_dim_type="text_proj",
            use_linear_projection=True,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(),
    )


def deepfloyd_if() -> Any:
    model = seeded(
        diffusers.UNet2DConditionModel,
        sample_size=32,
        in_channels=3,
        out_channels=6,
        layers_per_block=1,
        block_out_channels=(16, 32),
        norm_num_groups=8,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        cross_attention_dim=32,
        encoder_hid_dim=32,
        attention_head_dim=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        cross_attention_norm="group_norm",
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
    )
    return diffusers.IFPipeline(
        tokenizer=t5_tokenizer(77),
        text_encoder=t5_text(),
        unet=model,
        scheduler=diffusers.DDPMScheduler(
            beta_schedule="squaredcos_cap_v2", variance_type="learned_range", thresholding=True
        ),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )


def _kandinsky2_unet(width: int, **extra: Any) -> Any:
    return seeded(
        diffusers.UNet2DConditionModel,
        in_channels=4,
        out_channels=8,
        layers_per_block=1,
        block_out_channels=(16, 32),
        norm_num_groups=8,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        cross_attention_dim=width,
        encoder_hid_dim=width,
        attention_head_dim=8,
        resnet_time_scale_shift="scale_shift",
        **extra,
    )


def _kandinsky2_prior(width: int) -> dict[str, Any]:
    prior = seeded(
        diffusers.PriorTransformer,
        num_attention_heads=2,
        attention_head_dim=8,
        embedding_dim=width,
        num_layers=1,
        clip_embed_dim=width,
    )
    with torch.no_grad():
        # Zero as long as nothing is loaded, and so would be every image embedding.
        prior.clip_std.fill_(1.0)
    return dict(
        prior_prior=prior,
        prior_image_encoder=text_encoders.clip_vision(width),
        prior_text_encoder=clip_text(projection=True),
        prior_tokenizer=clip_tokenizer(),
        prior_scheduler=diffusers.UnCLIPScheduler(
            variance_type="fixed_small_log",
            prediction_type="sample",
            num_train_timesteps=1000,
            clip_sample=True,
            clip_sample_range=5.0,
        ),
        prior_image_processor=transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32),
    )


def kandinsky2_1() -> Any:
    width = 32
    return diffusers.KandinskyCombinedPipeline(
        text_encoder=text_encoders.multilingual_clip(width),
        tokenizer=language_tokenizers.xlm_roberta(),
        unet=_kandinsky2_unet(
            width,
            addition_embed_type="text_image",
            addition_embed_type_num_heads=2,
            encoder_hid_dim_type="text_image_proj",
        ),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        movq=autoencoders.movq(),
        **_kandinsky2_prior(width),
    )


def kandinsky2_2() -> Any:
    width = 32
    return diffusers.KandinskyV22CombinedPipeline(
        unet=_kandinsky2_unet(width, addition_embed_type="image", encoder_hid_dim_type="image_proj"),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        movq=autoencoders.movq(),
        **_kandinsky2_prior(width),
    )


def kandinsky3() -> Any:
    model = seeded(
        diffusers.Kandinsky3UNet,
        in_channels=4,
        time_embedding_dim=8,
        groups=2,
        attention_head_dim=8,
        layers_per_block=2,
        # Which levels attend is written into the class, for four levels.
        block_out_channels=(16, 16, 32, 32),
        # As wide as no level, as in the real one.
        cross_attention_dim=24,
        encoder_hid_dim=32,
    )
    return diffusers.Kandinsky3Pipeline(
        tokenizer=language_tokenizers.t5(),
        text_encoder=t5_text(),
        unet=model,
        scheduler=diffusers.DDPMScheduler(clip_sample=True),
        movq=autoencoders.movq(levels=4),
    )


def _cascade_unet(**extra: Any) -> Any:
    return seeded(
        diffusers.models.StableCascadeUNet,
        conditioning_dim=32,
        clip_seq=4,
        patch_size=1,
        kernel_size=3,
        dropout=(0.0, 0.0),
        self_attn=True,
        timestep_ratio_embedding_dim=8,
        **extra,
    )


def stable_cascade() -> Any:
    """Both stages. Only the prior reads the prompt token by token; the decoder reads its pooled embedding."""
    prior = _cascade_unet(
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 32),
        num_attention_heads=(2, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        down_blocks_repeat_mappers=(1, 1),
        up_blocks_repeat_mappers=(1, 1),
        block_types_per_layer=(("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),) * 2,
        switch_level=(False,),
        clip_text_in_channels=32,
        clip_text_pooled_in_channels=32,
        clip_image_in_channels=32,
    )
    decoder = _cascade_unet(
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 32),
        num_attention_heads=(0, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        down_blocks_repeat_mappers=(1, 1),
        up_blocks_repeat_mappers=(1, 1),
        block_types_per_layer=(
            ("SDCascadeResBlock", "SDCascadeTimestepBlock"),
            ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
        ),
        clip_text_pooled_in_channels=32,
        effnet_in_channels=4,
        pixel_mapper_in_channels=3,
    )
    return diffusers.StableCascadeCombinedPipeline(
        tokenizer=clip_tokenizer(),
        text_encoder=clip_text(projection=True),
        decoder=decoder,
        scheduler=diffusers.DDPMWuerstchenScheduler(),
        vqgan=autoencoders.paella(),
        prior_prior=prior,
        prior_text_encoder=clip_text(projection=True),
        prior_tokenizer=clip_tokenizer(),
        prior_scheduler=diffusers.DDPMWuerstchenScheduler(),
        prior_feature_extractor=None,
        prior_image_encoder=None,
    )


def dreamlite() -> Any:
    return diffusers.DreamLitePipeline(
        text_encoder=text_encoders.qwen3_vl(),
        tokenizer=language_tokenizers.qwen(),
        processor=language_tokenizers.qwen_vl_processor(),
        vae=autoencoders.tiny(),
        unet=seeded(
            diffusers.DreamLiteUNetModel,
            sample_size=16,
            in_channels=4,
            out_channels=4,
            block_out_channels=(16, 32, 32),
            layers_per_block=1,
            norm_num_groups=8,
            cross_attention_dim=text_encoders.WIDTH,
            attention_head_dim=8,
            ff_mult=2,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


def latent_diffusion() -> Any:
    """The ancestor of Stable Diffusion; its encoder's attention is written out, in diffusers itself."""
    from diffusers.pipelines.latent_diffusion import LDMBertModel
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import LDMBertConfig

    config = LDMBertConfig(
        vocab_size=300,
        encoder_layers=2,
        encoder_ffn_dim=48,
        encoder_attention_heads=4,
        head_dim=8,
        d_model=32,
    )
    torch.manual_seed(0)
    return diffusers.LDMTextToImagePipeline(
        # The pipeline counts on eight pixels to a side of a latent.
        vqvae=autoencoders.kl(levels=4),
        bert=LDMBertModel(config).eval(),
        tokenizer=language_tokenizers.bert(77),
        unet=unet(),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, steps_offset=1),
    )


def _picture() -> torch.Tensor:
    rows = torch.linspace(0, 1, HEIGHT)[:, None].expand(HEIGHT, WIDTH)
    return torch.stack([rows, rows.flip(0), rows.new_full(rows.shape, 0.5)])[None]


FAMILIES = {
    "stable-diffusion-1": Family(sd, dict(guidance_scale=5.0)),
    "stable-diffusion-2": Family(sd2, dict(guidance_scale=5.0)),
    "sdxl": Family(sdxl, dict(guidance_scale=5.0)),
    "sdxl-refiner": Family(
        sdxl_refiner, dict(image=_picture(), strength=1.0, guidance_scale=5.0, height=ABSENT, width=ABSENT)
    ),
    "lcm": Family(latent_consistency, dict(guidance_scale=8.0), negative=False),
    "alt-diffusion": Family(alt_diffusion, dict(guidance_scale=5.0)),
    "kolors": Family(kolors, dict(guidance_scale=5.0)),
    "deepfloyd-if": Family(deepfloyd_if, dict(guidance_scale=5.0, clean_caption=False)),
    "kandinsky-2.1": Family(
        kandinsky2_1,
        dict(guidance_scale=4.0, prior_guidance_scale=4.0, prior_num_inference_steps=2, height=32, width=64),
    ),
    "kandinsky-2.2": Family(
        kandinsky2_2,
        dict(guidance_scale=4.0, prior_guidance_scale=4.0, prior_num_inference_steps=2, height=32, width=64),
    ),
    "kandinsky-3": Family(kandinsky3, dict(guidance_scale=3.0, height=64, width=128)),
    "stable-cascade": Family(
        stable_cascade,
        dict(prior_guidance_scale=4.0, decoder_guidance_scale=1.5, prior_num_inference_steps=2, height=128, width=256),
    ),
    "dreamlite": Family(dreamlite, dict(guidance_scale=4.0)),
    "latent-diffusion": Family(latent_diffusion, dict(guidance_scale=4.0, height=128, width=192), negative=False),
}
