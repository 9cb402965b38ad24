"""From a prompt as typed to spans with weights, and from those to tokens with weights. Pure Python plus a tokenizer."""

from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.nodes import Alternate, And, Break, Node, Prompt, Schedule, Span
from promptattn.prompt.parsing import parse

__all__ = [
    "Alternate",
    "And",
    "Break",
    "Diagnostic",
    "Node",
    "Prompt",
    "Schedule",
    "Span",
    "parse",
]
