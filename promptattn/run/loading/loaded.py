"""A pipeline whose parts are not all there, or do not fit each other: said before torch does in words of its own."""

from typing import Any

import torch

from promptattn.errors import UnsupportedModelError
from promptattn.telling import tell

__all__ = ["check_loaded"]


def check_loaded(pipe: Any) -> None:
    """Refuse a pipeline that could not make an image, and say where its parts have different dtypes.

    Raises:
        UnsupportedModelError: for a denoiser or scheduler that is None, and for weights on the meta device that no
            offloading hook would bring back.
    """
    for name in ("unet", "transformer", "scheduler"):
        if name in getattr(pipe, "config", {}) and hasattr(pipe, name) and getattr(pipe, name) is None:
            raise UnsupportedModelError(
                f"{type(pipe).__name__} is loaded in part only: its {name} is None; load it, or give it one."
            )
    for name, part in getattr(pipe, "components", {}).items():
        if isinstance(part, torch.nn.Module) and (weight := _missing(part)):
            raise UnsupportedModelError(
                f"the weights of {name} are not in memory: {weight} is on the meta device; load them with"
                " from_pretrained, or load_state_dict(..., assign=True)."
            )
    _tell_of_dtypes(pipe)


_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def _tell_of_dtypes(pipe: Any) -> None:
    """Pipelines around a UNet hand text over in their encoder's dtype, also where they are given embeddings."""
    unet = getattr(pipe, "unet", None)
    if unet is None:
        return
    encoders = [getattr(pipe, name, None) for name in ("text_encoder_2", "text_encoder")]
    encoder = next((each for each in encoders if each is not None), None)
    pair = tuple(getattr(part, "dtype", None) for part in (unet, encoder))
    if (
        all(dtype in _DTYPES for dtype in pair)
        and pair[0] != pair[1]
        and not torch.is_autocast_enabled(unet.device.type)
    ):
        names = [str(dtype).removeprefix("torch.") for dtype in pair]
        tell(
            f"the UNet is in {names[0]} and the text encoder in {names[1]}: {type(pipe).__name__} does not convert"
            f" between them outside autocast; call pipe.to(torch.{names[0]})."
        )


def _missing(part: torch.nn.Module) -> str | None:
    """The first weight that is nowhere; layers that accelerate offloads have theirs on meta between two calls."""
    for name, module in part.named_modules():
        if not getattr(getattr(module, "_hf_hook", None), "offload", False):
            for weight, parameter in module.named_parameters(recurse=False):
                if parameter.is_meta:
                    return f"{name}.{weight}" if name else weight
    return None
