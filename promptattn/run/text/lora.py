"""LoRA scales that are given to a call: the text was encoded before it."""

from collections.abc import Mapping
from typing import Any

from promptattn.telling import tell

__all__ = ["tell_of_scale"]


def tell_of_scale(pipe: Any, arguments: Mapping[str, Any]) -> bool:
    """Say so where a call scales LoRA weights and the text encoder has some; returns whether it was said.

    arguments: the denoiser's, by name, to which pipelines hand the scale on that they encode the prompt with.
    """
    given = arguments.get("cross_attention_kwargs") or arguments.get("joint_attention_kwargs") or {}
    scale = given.get("scale", 1.0) if isinstance(given, Mapping) else 1.0
    if scale == 1.0:
        return False
    names = ("text_encoder", "text_encoder_2", "text_encoder_3")
    loaded = [name for name in names if getattr(getattr(pipe, name, None), "peft_config", None)]
    if not loaded:
        return False
    tell(
        f"the scale {scale:g} of this call acts on the denoiser's LoRA alone: {loaded[0]} was run on entry, with the"
        " scale of set_adapters; call pipe.set_adapters(name, scale) before attend() to scale both."
    )
    return True
