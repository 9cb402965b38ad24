"""What diffusers holds besides models that make an image from a text: by name, each with what it does instead.

`refused` names models that do make images from text and are not served; here are the others. Every entry completes the
sentence "... cannot be attended: ...".
"""

from collections.abc import Iterator, Mapping

__all__ = ["OTHER_MODELS", "OTHER_PIPELINES", "why_out_of_scope"]

_VIDEO = "it makes a video, and promptattn maps words to the places of one image"
_SOUND = "it makes sound, which has no places to map words to"
_SHAPE = "it makes a three-dimensional shape, and no image whose places would attend to words"
_PROTEIN = "it makes the structure of a protein"
_TEXT = "it writes text, and no image"
_UNCONDITIONAL = "it reads no text"
_FROM_A_PICTURE = "it goes by a picture, and reads no text"
_FROM_EMBEDDINGS = "it draws the image embeddings that it is given, and reads no text"
_EMBEDDINGS = "it makes embeddings, and no image"
_MODULAR = (
    "modular pipelines encode text in blocks that their user puts together, so there is no one way in which the text"
    " comes to the denoiser; load the model with the pipeline class of its own"
)
_ONNX = "it runs in ONNX, where attention is inside a compiled graph"
_CONTROL = "it is a ControlNet, which reads the text beside the denoiser; words are weighed and watched in the denoiser"
_PART = "it is a part of other models, and denoises nothing by itself"

_PIPELINES: Mapping[str, tuple[str, ...]] = {
    _VIDEO: (
        "allegro",
        "animatediff",
        "anyflow",
        "chronoedit",
        "cogvideo",
        "consisid",
        "cosmos.pipeline_cosmos2_5_predict",
        "cosmos.pipeline_cosmos2_5_transfer",
        "cosmos.pipeline_cosmos2_video2world",
        "cosmos.pipeline_cosmos3_omni",
        "cosmos.pipeline_cosmos_text2world",
        "cosmos.pipeline_cosmos_video2world",
        "deprecated.i2vgen_xl",
        "deprecated.pia",
        "deprecated.text_to_video_synthesis",
        "easyanimate",
        "helios",
        "hunyuan_video",
        "hunyuan_video1_5",
        "kandinsky5.pipeline_kandinsky",
        "kandinsky5.pipeline_kandinsky_i2v",
        "kandinsky6",
        "latte",
        "ltx",
        "ltx2",
        "lucy",
        "mochi",
        "motif_video",
        "pag.pipeline_pag_sd_animatediff",
        "sana_video",
        "sana_wm",
        "skyreels_v2",
        "stable_video_diffusion",
        "wan",
    ),
    _SOUND: (
        "ace_step",
        "audioldm2",
        "deprecated.audio_diffusion",
        "deprecated.audioldm",
        "deprecated.dance_diffusion",
        "deprecated.musicldm",
        "deprecated.spectrogram_diffusion",
        "longcat_audio_dit",
        "stable_audio",
        "stable_audio_3",
    ),
    _SHAPE: ("shap_e",),
    _PROTEIN: ("rfd4_proteina",),
    _TEXT: ("diffusion_gemma", "llada2"),
    _UNCONDITIONAL: (
        "consistency_models",
        "ddim",
        "ddpm",
        "deprecated.latent_diffusion_uncond",
        "deprecated.pndm",
        "deprecated.score_sde_ve",
        "deprecated.stochastic_karras_ve",
        "dit",
    ),
    _FROM_A_PICTURE: (
        "deprecated.paint_by_example",
        "deprecated.repaint",
        "deprecated.unclip.pipeline_unclip_image_variation",
        "deprecated.versatile_diffusion.pipeline_versatile_diffusion_image_variation",
        "latent_diffusion.pipeline_latent_diffusion_superresolution",
        "marigold",
        "stable_diffusion.pipeline_stable_diffusion_image_variation",
    ),
    _FROM_EMBEDDINGS: (
        "kandinsky2_2.pipeline_kandinsky2_2",
        "kandinsky2_2.pipeline_kandinsky2_2_controlnet",
        "kandinsky2_2.pipeline_kandinsky2_2_controlnet_img2img",
        "kandinsky2_2.pipeline_kandinsky2_2_img2img",
        "kandinsky2_2.pipeline_kandinsky2_2_inpainting",
    ),
    _EMBEDDINGS: ("flux.pipeline_flux_prior_redux",),
    _ONNX: (
        "deprecated.stable_diffusion_variants.pipeline_onnx_stable_diffusion_inpaint_legacy",
        "stable_diffusion.pipeline_onnx_stable_diffusion",
        "stable_diffusion.pipeline_onnx_stable_diffusion_img2img",
        "stable_diffusion.pipeline_onnx_stable_diffusion_inpaint",
        "stable_diffusion.pipeline_onnx_stable_diffusion_upscale",
    ),
}

_MODELS: Mapping[str, tuple[str, ...]] = {
    _VIDEO: (
        "AllegroTransformer3DModel",
        "AnyFlowFARTransformer3DModel",
        "AnyFlowTransformer3DModel",
        "ChronoEditTransformer3DModel",
        "CogVideoXTransformer3DModel",
        "ConsisIDTransformer3DModel",
        "Cosmos3OmniTransformer",
        "EasyAnimateTransformer3DModel",
        "HeliosTransformer3DModel",
        "HunyuanVideo15Transformer3DModel",
        "HunyuanVideoFramepackTransformer3DModel",
        "HunyuanVideoTransformer3DModel",
        "I2VGenXLUNet",
        "Kandinsky6SRTransformer3DModel",
        "Kandinsky6Transformer3DModel",
        "LTX2VideoTransformer3DModel",
        "LTXVideoTransformer3DModel",
        "LatteTransformer3DModel",
        "MiniMaxH3Transformer3DModel",
        "MochiTransformer3DModel",
        "MotifVideoTransformer3DModel",
        "SanaVideoTransformer3DModel",
        "SanaWMLTX2RefinerTransformer3DModel",
        "SanaWMTransformer3DModel",
        "SkyReelsV2Transformer3DModel",
        "UNet3DConditionModel",
        "UNetMotionModel",
        "UNetSpatioTemporalConditionModel",
        "WanAnimate2Transformer3DModel",
        "WanAnimateTransformer3DModel",
        "WanTransformer3DModel",
        "WanVACETransformer3DModel",
    ),
    _SOUND: (
        "AceStepTransformer1DModel",
        "AudioLDM2UNet2DConditionModel",
        "LongCatAudioDiTTransformer",
        "MiniMaxMusic3RVQDepthDecoder",
        "MiniMaxMusic3Transformer1DModel",
        "StableAudio3DiTModel",
        "StableAudioDiTModel",
        "T5FilmDecoder",
        "UNet1DModel",
    ),
    _PROTEIN: ("RFD4ProteinaTransformer",),
    _UNCONDITIONAL: ("DiTTransformer2DModel", "UNet2DModel"),
    _CONTROL: (
        "ControlNetModel",
        "ControlNetUnionModel",
        "ControlNetXSAdapter",
        "CosmosControlNetModel",
        "FluxControlNetModel",
        "FluxMultiControlNetModel",
        "HunyuanDiT2DControlNetModel",
        "HunyuanDiT2DMultiControlNetModel",
        "MultiControlNetModel",
        "MultiControlNetUnionModel",
        "QwenImageControlNetModel",
        "QwenImageMultiControlNetModel",
        "SD3ControlNetModel",
        "SD3MultiControlNetModel",
        "SanaControlNetModel",
        "SparseControlNetModel",
        "ZImageControlNetModel",
    ),
    _PART: (
        "DreamLiteTransformer2DModel",
        "MotionAdapter",
        "Transformer2DModel",
        "TransformerTemporalModel",
        "UTransformer2DModel",
    ),
}

_ROOT = "diffusers.pipelines."

OTHER_PIPELINES: dict[str, str] = {
    **{_ROOT + place: reason for reason, places in _PIPELINES.items() for place in places},
    "diffusers.modular_pipelines": _MODULAR,
}
"""By package or module of diffusers: what all pipelines in it do."""

OTHER_MODELS: dict[str, str] = {name: reason for reason, names in _MODELS.items() for name in names}
"""By the name of its class: what a model does that is no denoiser of images by text."""


def why_out_of_scope(cls: type) -> str | None:
    """Why a class of pipelines or of models, or one it derives from, has nothing to attend; a clause, or None."""
    reasons = (reason for each in cls.__mro__ for reason in _reasons(each))
    return next(reasons, None)


def _reasons(cls: type) -> Iterator[str]:
    if reason := OTHER_MODELS.get(cls.__name__):
        yield reason
    place = cls.__module__
    while place:
        if reason := OTHER_PIPELINES.get(place):
            yield reason
        place = place.rpartition(".")[0]
