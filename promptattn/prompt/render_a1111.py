"""Writing a prompt in A1111 syntax, so that parsing what was written gives the same prompt."""

import re
from collections.abc import Sequence

from promptattn.errors import PromptSyntaxError
from promptattn.prompt.combining import ends_like_weight
from promptattn.prompt.nodes import Alternate, And, Break, Node, Part, Schedule, Span
from promptattn.prompt.numbers import plain_decimal
from promptattn.prompt.source import TAG_START
from promptattn.prompt.tree import Prompt

__all__ = ["render_a1111"]

_SYNTAX = re.compile(r"[\\()\[\]]")
_SYNTAX_IN_SWITCH = re.compile(r"[\\()\[\]:|]")
# A lone backslash is dropped in parsing: one inside a word that would be read as syntax keeps that word text.
_WORD_AS_SYNTAX = re.compile(rf"\bB(?=REAK\b)|\bA(?=ND\b)|{TAG_START}")


def render_a1111(prompt: Prompt) -> str:
    """`prompt` with `(text:weight)` for each span whose weight is not 1; raises `PromptSyntaxError` for a blend."""
    only = prompt.nodes[0] if len(prompt.nodes) == 1 else None
    if isinstance(only, And):
        return " AND ".join(_part(part, alone=len(only.parts) == 1) for part in only.parts)
    return _sequence(prompt.nodes, inside=False)


def _part(part: Part, alone: bool) -> str:
    if alone:
        raise PromptSyntaxError("an And of a single part cannot be written in a1111 syntax; use the part's own prompt")
    text = _sequence(part.prompt.nodes, inside=False)
    if part.weight == 1.0 and not ends_like_weight(text):
        return text
    return f"{text} :{plain_decimal(part.weight)}"


def _sequence(nodes: Sequence[Node], inside: bool) -> str:
    """The nodes one after the other; `inside` a bracket that changes from step to step."""
    pieces: list[str] = []
    previous: Node | None = None
    for node in nodes:
        if previous is not None and (isinstance(node, Break) or isinstance(previous, Break)):
            pieces.append(" ")
        pieces.append(_node(node, inside))
        previous = node
    return "".join(pieces)


def _node(node: Node, inside: bool) -> str:
    match node:
        case Span():
            syntax = _SYNTAX_IN_SWITCH if inside else _SYNTAX
            text = _WORD_AS_SYNTAX.sub(r"\g<0>\\", syntax.sub(r"\\\g<0>", node.text))
            return text if node.weight == 1.0 else f"({text}:{plain_decimal(node.weight)})"
        case Break():
            return "BREAK"
        case Schedule():
            when = plain_decimal(node.when)
            if node.unit == "fraction" and "." not in when:
                when += ".0"
            before, after = (_sequence(branch.nodes, inside=True) for branch in (node.before, node.after))
            return f"[{before}:{after}:{when}]"
        case Alternate():
            return f"[{'|'.join(_sequence(option.nodes, inside=True) for option in node.options)}]"
        case _:
            raise PromptSyntaxError(
                "a1111 syntax cannot say .blend(); AND is not the same: it adds predictions where .blend() mixes "
                "embeddings. Keep the prompt in compel syntax"
            )
