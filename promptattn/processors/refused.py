"""Denoisers of diffusers that are known and not served, each with the reason."""

from dataclasses import dataclass
from typing import Any

import torch

from promptattn.processors.out_of_scope import why_out_of_scope

__all__ = ["REFUSED", "REFUSED_PIPELINES", "Refusal", "why_pipeline_refused", "why_refused"]


@dataclass(frozen=True)
class Refusal:
    """Why the pipelines of one denoiser class cannot be attended.

    families: what the models are called. reason: a clause.
    """

    families: tuple[str, ...]
    reason: str


_IN_A_TEMPLATE = (
    "its text encoder is a language model that reads the prompt inside a template, and promptattn does not know yet"
    " which of its rows are which words"
)
_PRIOR = (
    "words reach only its prior, which makes no picture; the decoder that draws it reads all of them as one embedding"
)
_TWO_MODELS = "its words are read by two models one after the other, of which the first makes no picture"
_READS_A_PICTURE = "its text encoder reads the picture that is edited among the words"
_ONE_EMBEDDING = "words reach the image through one image embedding, in which none has a place of its own"
_INSIDE = "it encodes its text inside its own call, where promptattn cannot have it encoded"
_CROPS = "it denoises overlapping crops, so no map would show the whole image"
_OWN_PROCESSORS = "it sets attention processors of its own, which build the attention matrix, and steers by them"
_SUBJECT = "its text encoder reads a picture of the subject among the words"
_PUT_TOGETHER = "its prompt is put together of a layout, a task and a content"

REFUSED_PIPELINES: dict[str, str] = {
    "AmusedImg2ImgPipeline": _INSIDE,
    "AmusedInpaintPipeline": _INSIDE,
    "AmusedPipeline": _INSIDE,
    "BlipDiffusionControlNetPipeline": _SUBJECT,
    "BlipDiffusionPipeline": _SUBJECT,
    "BriaFiboEditPipeline": "its prompt is a JSON object with an instruction, in which a weight has no place",
    "CycleDiffusionPipeline": "its batch holds rows of a second prompt, that of the picture it goes by",
    "Flux2KleinKVPipeline": "its layers attend to reference pictures in a function that no processor reaches",
    "HunyuanImageRefinerPipeline": "it refines a picture whose latents come as those of a video with frames",
    "KandinskyImg2ImgPipeline": _INSIDE,
    "KandinskyInpaintPipeline": _INSIDE,
    "Kandinsky5I2IPipeline": _READS_A_PICTURE,
    "KandinskyPipeline": _INSIDE,
    "KolorsImg2ImgPipeline": "its call hands on the embeddings that it is given without the pooled ones, and fails",
    "LDMTextToImagePipeline": _INSIDE,
    "LEditsPPPipelineStableDiffusion": _OWN_PROCESSORS,
    "LEditsPPPipelineStableDiffusionXL": _OWN_PROCESSORS,
    "LongCatImageEditPipeline": _READS_A_PICTURE,
    "QwenImageEditInpaintPipeline": _READS_A_PICTURE,
    "QwenImageEditPipeline": _READS_A_PICTURE,
    "QwenImageEditPlusPipeline": _READS_A_PICTURE,
    "QwenImageLayeredPipeline": "it takes a picture apart into layers, in latents of several pictures",
    "SemanticStableDiffusionPipeline": _INSIDE,
    "StableDiffusionAttendAndExcitePipeline": _OWN_PROCESSORS,
    "StableDiffusionInstructPix2PixPipeline": _INSIDE,
    "StableDiffusionLatentUpscalePipeline": "its encode_prompt is not that of the other Stable Diffusion pipelines",
    "StableDiffusionPanoramaPipeline": _CROPS,
    "StableDiffusionParadigmsPipeline": "it denoises several steps in one call",
    "StableDiffusionPipelineSafe": _INSIDE,
    "StableDiffusionPix2PixZeroPipeline": _OWN_PROCESSORS,
    "StableDiffusionSAGPipeline": _OWN_PROCESSORS,
    "StableDiffusionXLInstructPix2PixPipeline": "its batch holds rows of the negative prompt twice",
    "StableUnCLIPPipeline": "its prior reads the prompt as text, and the pipeline takes no embeddings beside it",
    "VQDiffusionPipeline": _INSIDE,
    "VersatileDiffusionDualGuidedPipeline": _INSIDE,
    "VersatileDiffusionPipeline": _INSIDE,
    "VersatileDiffusionTextToImagePipeline": _INSIDE,
    "VisualClozeGenerationPipeline": _PUT_TOGETHER,
    "VisualClozePipeline": _PUT_TOGETHER,
    "ZImageOmniPipeline": "its text comes in pieces, before, between and behind the pictures that it is given",
}
"""Pipelines that are refused although their denoiser is served in others: the reason, a clause."""

REFUSED: dict[str, Refusal] = {
    "BriaFibo2Transformer2DModel": Refusal(
        ("Bria FIBO 2",),
        "it reads its text as gist tokens, none of which is one word, and word by word in a few of its layers only",
    ),
    "CosmosTransformer3DModel": Refusal(
        ("Cosmos text to image",), "its latents and its text come as those of a video with one frame"
    ),
    "DreamLiteUNetModel": Refusal(
        ("DreamLite",),
        "its pipeline encodes prompt and negative prompt as one list, and denoises its picture beside another one",
    ),
    "Flux3Transformer2DModel": Refusal(("Flux.3",), "diffusers has only a modular pipeline for it"),
    "GlmImageTransformer2DModel": Refusal(
        ("GLM-Image",),
        "a language model makes tokens of the picture of its prompt first; only texts in quotes have rows of their own",
    ),
    "Ideogram4Transformer2DModel": Refusal(
        ("Ideogram 4",),
        "its prompts are encoded into one sequence with the places of the image, and it is guided by a second denoiser",
    ),
    "JoyImageEditPlusTransformer3DModel": Refusal(("JoyImage-Edit-Plus",), _READS_A_PICTURE),
    "JoyImageEditTransformer3DModel": Refusal(("JoyImage-Edit",), _READS_A_PICTURE),
    "OmniGenTransformer2DModel": Refusal(
        ("OmniGen",),
        "it is its own text encoder: token ids go in beside the image, and there is no encode_prompt to watch",
    ),
    "PriorTransformer": Refusal(("Kandinsky 2.1", "Kandinsky 2.2"), _ONE_EMBEDDING),
    "StableCascadeUNet": Refusal(("Stable Cascade",), _PRIOR),
    "UNetControlNetXSModel": Refusal(
        ("ControlNet-XS",), "its UNet and its ControlNet are one model, whose layers promptattn cannot tell apart yet"
    ),
    "UNetFlatConditionModel": Refusal(("Versatile Diffusion",), _INSIDE),
    "UVit2DModel": Refusal(("aMUSEd",), _INSIDE),
    "UniDiffuserModel": Refusal(
        ("UniDiffuser",), "it denoises text beside the image, in rows that promptattn cannot place"
    ),
    "WuerstchenDiffNeXt": Refusal(("Wuerstchen",), _TWO_MODELS),
    "WuerstchenPrior": Refusal(("Wuerstchen",), _TWO_MODELS),
}


def why_pipeline_refused(pipe: Any) -> str | None:
    """Why this pipeline cannot be attended, whatever its denoiser is, or None where that is not known of it."""
    for cls in type(pipe).__mro__:
        if reason := REFUSED_PIPELINES.get(cls.__name__):
            return reason
    return why_out_of_scope(type(pipe))


def why_refused(denoiser: torch.nn.Module) -> str | None:
    """Why this denoiser cannot be attended, or None where that is not known of it beforehand."""
    for cls in type(denoiser).__mro__:
        if refusal := REFUSED.get(cls.__name__):
            return refusal.reason
    return why_out_of_scope(type(denoiser))
