"""Whether a pipeline can be attended, and which layout its denoiser has."""

import inspect
from typing import Any

import torch

from promptattn.denoisers import denoiser_of
from promptattn.discovery import layout_for
from promptattn.errors import UnsupportedModelError
from promptattn.processors.layouts import Layout
from promptattn.processors.refused import why_pipeline_refused, why_refused
from promptattn.processors.segments import spoken_of

__all__ = ["served"]


def served(pipe: Any) -> tuple[torch.nn.Module, Layout]:
    """The pipeline's denoiser and its layout.

    Raises:
        UnsupportedModelError: for a pipeline that cannot be attended; says why.
    """
    if reason := why_pipeline_refused(pipe):
        raise UnsupportedModelError(f"{type(pipe).__name__} cannot be attended: {reason}.")
    denoiser = denoiser_of(pipe)
    if not isinstance(denoiser, torch.nn.Module) or not hasattr(pipe, "encode_prompt"):
        for part in getattr(pipe, "components", {}).values():
            if isinstance(part, torch.nn.Module) and (reason := why_refused(part)):
                raise UnsupportedModelError(f"{type(pipe).__name__} cannot be attended: {reason}.")
        raise UnsupportedModelError(
            f"{type(pipe).__name__} is not a text-to-image pipeline that promptattn can attend: it needs a denoiser"
            " (pipe.unet or pipe.transformer) and encode_prompt."
        )
    layout = layout_for(pipe, denoiser)
    wanted = {"prompt"} if spoken_of(denoiser) else {"prompt", "device", "num_images_per_prompt"}
    if missing := wanted - set(inspect.signature(pipe.encode_prompt).parameters):
        raise UnsupportedModelError(
            f"{type(pipe).__name__}.encode_prompt takes no {', '.join(sorted(missing))}, so promptattn cannot have this"
            " pipeline's text encoded."
        )
    return denoiser, layout
