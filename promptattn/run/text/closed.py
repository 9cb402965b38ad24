"""Text encoders that cannot be entered, where weights may do without them."""

import torch

from promptattn.processors.text_encoder import why_closed
from promptattn.telling import tell
from promptattn.weighting import Weighting

__all__ = ["left_alone"]


def left_alone(weighting: Weighting, name: str, encoder: torch.nn.Module) -> bool:
    """Whether weights that would act in a text encoder are left to the denoiser, and says so: the encoder cannot be
    entered, and nobody asked that it be (`where="auto"`)."""
    reason = why_closed(encoder) if weighting.where == "auto" else None
    if reason is not None:
        tell(
            f"weights below 0.5 fade out in the denoiser only, not in {name} too: {reason};"
            ' where="denoiser" says that this is meant.'
        )
    return reason is not None
