"""Denoisers of diffusers that are known and not served, each with the reason."""

from dataclasses import dataclass

import torch

from promptattn.processors.install import attention_layers

__all__ = ["ADDED_KEYS", "REFUSED", "REFUSED_PIPELINES", "Refusal", "why_refused"]


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
_KEYS_TOGETHER = (
    "each of its attention layers reads text and image as the keys of one call, with queries of the image alone, which"
    " promptattn cannot place yet"
)
_AS_LONG_AS_ITS_TOKENS = (
    "its texts are as long as their tokens, and promptattn counts on a number of text rows that is the same for all"
)

ADDED_KEYS = Refusal(("DeepFloyd IF",), _KEYS_TOGETHER)
"""UNets whose layers have one of the `AttnAddedKV` processors."""

_CROPS = "it denoises overlapping crops, so no map would show the whole image"
_PERTURBED = "its perturbed rows go through joint attention in a batch of another size"
_CHATGLM = "its tokenizer, ChatGLM's, cannot tell which characters of the prompt a token stands for"

REFUSED_PIPELINES: dict[str, str] = {
    "KolorsImg2ImgPipeline": _CHATGLM,
    "KolorsPAGPipeline": _CHATGLM,
    "KolorsPipeline": _CHATGLM,
    "StableDiffusion3PAGImg2ImgPipeline": _PERTURBED,
    "StableDiffusion3PAGPipeline": _PERTURBED,
    "StableDiffusionPanoramaPipeline": _CROPS,
}
"""Pipelines that are refused although their denoiser is served in others: the reason, a clause."""

REFUSED: dict[str, Refusal] = {
    "BriaFibo2Transformer2DModel": Refusal(
        ("Bria FIBO 2",), "its text is condensed into gist tokens, none of which is one word"
    ),
    "BriaFiboTransformer2DModel": Refusal(
        ("Bria FIBO",), "every layer of it gets text rows of another layer of the language model"
    ),
    "BriaTransformer2DModel": Refusal(
        ("Bria",), "its pipeline encodes a prompt without padding and fills its rows up with zeros afterwards"
    ),
    "CogView3PlusTransformer2DModel": Refusal(
        ("CogView3+",), "its pipeline puts zeros in the place of negative embeddings that it is given"
    ),
    "CogView4Transformer2DModel": Refusal(
        ("CogView4",), "its pipeline fills a text up on the left, to the next 16 tokens, and not to one length"
    ),
    "DreamLiteUNetModel": Refusal(("DreamLite",), _IN_A_TEMPLATE),
    "ErnieImageTransformer2DModel": Refusal(("Ernie-Image",), _AS_LONG_AS_ITS_TOKENS),
    "Flux2Transformer2DModel": Refusal(("Flux.2", "Flux.2 Klein"), _IN_A_TEMPLATE),
    "GlmImageTransformer2DModel": Refusal(
        ("GLM-Image",),
        "words reach it as prior tokens that another model writes; only texts in quotes have rows of their own",
    ),
    "HiDreamImageTransformer2DModel": Refusal(
        ("HiDream",), "every layer of it gets text rows of another layer of the language model"
    ),
    "HunyuanDiT2DModel": Refusal(
        ("HunyuanDiT",), "the texts of its two encoders come as two arguments, which promptattn does not join yet"
    ),
    "HunyuanImageTransformer2DModel": Refusal(("HunyuanImage",), _IN_A_TEMPLATE),
    "Ideogram4Transformer2DModel": Refusal(("Ideogram 4",), _IN_A_TEMPLATE),
    "Kandinsky3UNet": Refusal(
        ("Kandinsky 3",), "its pipeline cuts text and mask after the longest prompt's last token"
    ),
    "Kandinsky5Transformer3DModel": Refusal(("Kandinsky 5",), _IN_A_TEMPLATE),
    "Krea2Transformer2DModel": Refusal(("Krea 2",), _IN_A_TEMPLATE),
    "LongCatImageTransformer2DModel": Refusal(("LongCat-Image",), _IN_A_TEMPLATE),
    "Lumina2Transformer2DModel": Refusal(("Lumina 2",), _IN_A_TEMPLATE),
    "LuminaNextDiT2DModel": Refusal(("Lumina-Next",), _AS_LONG_AS_ITS_TOKENS),
    "NucleusMoEImageTransformer2DModel": Refusal(("NucleusMoE-Image",), _IN_A_TEMPLATE),
    "OmniGenTransformer2DModel": Refusal(
        ("OmniGen",), "it is its own text encoder: token ids go in beside the image, so there is no text to hand over"
    ),
    "OvisImageTransformer2DModel": Refusal(("Ovis-Image",), _IN_A_TEMPLATE),
    "PRXTransformer2DModel": Refusal(("PRX",), _KEYS_TOGETHER),
    "PriorTransformer": Refusal(
        ("Kandinsky 2.1", "Kandinsky 2.2"),
        "words reach the image through one image embedding, in which none has a place of its own",
    ),
    "QwenImage21Transformer2DModel": Refusal(("Qwen-Image 2.1",), _IN_A_TEMPLATE),
    "QwenImageTransformer2DModel": Refusal(("Qwen-Image",), _IN_A_TEMPLATE),
    "SanaTransformer2DModel": Refusal(("Sana", "Sana-Sprint"), _IN_A_TEMPLATE),
    "StableCascadeUNet": Refusal(
        ("Stable Cascade",),
        "its layers read text and image embeddings as the keys of one call, in two models one after the other",
    ),
    "ZImageTransformer2DModel": Refusal(("Z-Image",), _IN_A_TEMPLATE),
}


def why_refused(denoiser: torch.nn.Module) -> str | None:
    """Why this denoiser cannot be attended, or None where that is not known of it beforehand."""
    for cls in type(denoiser).__mro__:
        if refusal := REFUSED.get(cls.__name__):
            return refusal.reason
    layers = attention_layers(denoiser).values()
    if any("AttnAddedKV" in cls.__name__ for layer in layers for cls in type(layer.processor).__mro__):
        return ADDED_KEYS.reason
    return None
