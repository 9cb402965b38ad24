"""Which setting of a config each command-line option gives."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptattn.config import RunConfig
    from promptattn.config.reading import Option

__all__ = ["settings", "with_maps"]

_PATHS = {
    "prompt": ("the prompt", "prompt"),
    "negative": ("--negative", "negative_prompt"),
    "model": ("--model", "model"),
    "folder": ("--out", "export.folder"),
    "force": ("--force", "export.force"),
    "words": ("--word", "export.words"),
    "seed": ("--seed", "seed"),
    "steps": ("--steps", "steps"),
    "guidance": ("--guidance", "guidance"),
    "height": ("--height", "size.height"),
    "width": ("--width", "size.width"),
    "images": ("--images", "images"),
    "syntax": ("--syntax", "syntax"),
    "method": ("--method", "weighting.method"),
    "where": ("--where", "weighting.where"),
    "strength": ("--strength", "weighting.strength"),
    "scheduler": ("--scheduler", "scheduler"),
    "clip_skip": ("--clip-skip", "clip_skip"),
    "device": ("--device", "device"),
    "dtype": ("--dtype", "dtype"),
    "capture": ("--no-maps", "capture"),
    "record": ("--record", "capture.stream.folder"),
    "metadata": ("--no-metadata", "export.metadata"),
}


def settings(**given: Any) -> "list[Option]":
    """Options as :func:`promptattn.config.load_config` takes them; what is None was not given.

    A `scheduler` stands for the whole section: the options of another one would not fit it.
    """
    return [(*_PATHS[name], value) for name, value in given.items()]


def with_maps(config: "RunConfig") -> "RunConfig":
    """The config with maps of every word, where it records none; a capture that it has stays."""
    from promptattn.config import CaptureConfig

    return config if config.capture else config.model_copy(update={"capture": CaptureConfig()})
