"""Where a method's weights can be told to act, and where not."""

from collections.abc import Sequence

from promptattn.errors import ConfigError
from promptattn.selection import Steps
from promptattn.weighting.methods import Method
from promptattn.weighting.odds import Weighting

__all__ = ["check_reach"]


def check_reach(
    method: Method, *, layers: Sequence[str] | str | None = None, steps: Steps = None, rows: str = "image"
) -> None:
    """Refuse a choice of layers, steps or rows for a method that does nothing in the denoiser's attention.

    Raises:
        ConfigError: for an embedding method, and for `where="text"`: the embeddings that these change are the same for
            every layer, row and step.
    """
    if isinstance(method, Weighting) and method.where != "text":
        return
    given = {"layers": layers, "steps": steps, "rows": None if rows == "image" else rows}
    if chosen := ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None):
        changes, instead = (
            ("where='text'", "another where")
            if isinstance(method, Weighting)
            else (repr(method.name), "weighting='attention' or 'prompt-to-prompt'")
        )
        raise ConfigError(
            f"{chosen}: {changes} changes the text embeddings, which every layer, step and row of the image reads"
            f" alike; leave it out, or use {instead}, which acts where it is told."
        )
