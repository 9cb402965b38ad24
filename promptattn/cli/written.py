"""Prompts that come from standard input."""

import os
import sys

from promptattn.console import note
from promptattn.errors import ConfigError

__all__ = ["STANDARD_INPUT", "invite", "written"]

STANDARD_INPUT = "-"
"""In place of a prompt: what is piped into the command, or typed."""


def written(prompt: str) -> str:
    """The prompt, or what standard input holds where it is `-`.

    Raises:
        ConfigError: where standard input is no text.
    """
    if prompt != STANDARD_INPUT:
        return prompt
    invite("the prompt")
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input is not text in {error.encoding} (byte {error.start}).") from error


def invite(what: str) -> None:
    """Say that something is waited for, where nothing is piped in and it is to be typed."""
    if sys.stdin.isatty():
        end = "Ctrl+Z and Enter" if os.name == "nt" else "Ctrl+D"
        note("info", f"type {what}; {end} at the beginning of a line ends it.")
