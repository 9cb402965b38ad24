"""`convert`: a prompt written for one system, written for another."""

from promptattn.prompt.parsing import parse

__all__ = ["convert"]


def convert(text: str, source: str, target: str) -> str:
    """`text`, written in the syntax `source`, written in the syntax `target`: the same words under the same weights.

    Weights are multiplied out and written as decimals that read back to the last digit. What reads as a mistake in
    `source` is converted as it is read (`parse(text, source).diagnostics` tells).

    Raises `PromptSyntaxError` for what `target` cannot say, naming it, and `ConfigError` for an unknown syntax.
    """
    return parse(text, source).render(target)
