"""Prompts that come from standard input."""

import sys

from promptattn.errors import ConfigError

__all__ = ["written"]


def written(prompt: str) -> str:
    """The prompt, or what standard input holds where it is `-`.

    Raises:
        ConfigError: where standard input is no text.
    """
    if prompt != "-":
        return prompt
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input is not text in {error.encoding} (byte {error.start}).") from error
