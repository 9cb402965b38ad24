"""From a prompt as typed to spans with weights, and from those to tokens with weights. Pure Python plus a tokenizer."""

from promptattn.prompt.chunks import Chunk, Slot
from promptattn.prompt.converting import convert
from promptattn.prompt.diagnostics import Diagnostic
from promptattn.prompt.encoder_plan import EncoderPlan, plan_tokens
from promptattn.prompt.nodes import Alternate, And, Blend, Break, Node, Part, Schedule, Span
from promptattn.prompt.parsing import SYNTAXES, parse
from promptattn.prompt.planning import TokenPlan, plan
from promptattn.prompt.timeline import find_in_timeline
from promptattn.prompt.tokens import TextToken, Token
from promptattn.prompt.tree import Prompt
from promptattn.prompt.words import Word, find

__all__ = [
    "SYNTAXES",
    "Alternate",
    "And",
    "Blend",
    "Break",
    "Chunk",
    "Diagnostic",
    "EncoderPlan",
    "Node",
    "Part",
    "Prompt",
    "Schedule",
    "Slot",
    "Span",
    "TextToken",
    "Token",
    "TokenPlan",
    "Word",
    "convert",
    "find",
    "find_in_timeline",
    "parse",
    "plan",
    "plan_tokens",
]
