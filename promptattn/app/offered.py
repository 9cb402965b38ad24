"""What can be chosen for a model, known from its small files: nothing of its weights is loaded or fetched."""

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

from promptattn.config import preset

__all__ = ["TOKENIZING", "Suited", "suited", "tokenizers"]

TOKENIZING = Lock()
"""To be held while text is cut into tokens: the tokenizers of the library are not for several threads at once."""


@dataclass(frozen=True)
class Suited:
    """The settings that suit a model; None is the pipeline's own default."""

    steps: int | None = None
    guidance: float | None = None
    height: int | None = None
    width: int | None = None


def suited(model: str) -> Suited:
    """What the preset says; nothing for a folder or a hub id."""
    known = preset(model)
    if known is None:
        return Suited()
    return Suited(known.steps, known.guidance, known.size.height, known.size.width)


@lru_cache(maxsize=8)
def tokenizers(model: str) -> Any:
    """The tokenizers of a model; see :func:`promptattn.run.loading.load.load_tokenizers`."""
    from promptattn.run.loading.load import load_tokenizers

    return load_tokenizers(model)
