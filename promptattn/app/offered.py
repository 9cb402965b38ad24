"""What can be chosen for a model, known from its small files: nothing of its weights is loaded or fetched."""

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

from promptattn.config import preset

__all__ = ["OWN", "TOKENIZING", "Suited", "samplers", "suited", "tokenizers"]

TOKENIZING = Lock()
"""To be held while text is cut into tokens: the tokenizers of the library are not for several threads at once."""

OWN = "the model's own"
"""The sampler that is no choice."""


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


def samplers(model: str) -> list[str]:
    """`OWN`, and the names of the schedulers that its own can give way to."""
    import diffusers

    _, name = tokenizers(model).config.get("scheduler") or (None, None)
    own = getattr(diffusers, str(name), None)
    if own is None or not hasattr(own, "_compatibles"):
        return [OWN]
    fitting = {name, *(each.__name__ for each in own().compatibles if not hasattr(each, "_backends"))}
    return [OWN, *sorted(fitting)]
