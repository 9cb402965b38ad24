"""Writing a prompt in ComfyUI's syntax, so that parsing what was written gives the same prompt."""

import re

from promptattn.errors import PromptSyntaxError
from promptattn.prompt.nodes import Alternate, And, Blend, Node, Schedule, Span
from promptattn.prompt.numbers import plain_decimal
from promptattn.prompt.tree import Prompt

__all__ = ["missing_in", "render_comfy"]

_BRACKET = re.compile(r"[()]")


def render_comfy(prompt: Prompt) -> str:
    """`prompt` with `(text:weight)` for each span whose weight is not 1.

    Raises `PromptSyntaxError` for everything but spans: ComfyUI's prompts have no breaks, schedules or combinations.
    """
    pieces: list[str] = []
    for index, node in enumerate(prompt.nodes):
        if not isinstance(node, Span):
            raise PromptSyntaxError(missing_in("comfy", node))
        text = _BRACKET.sub(r"\\\g<0>", node.text)
        # A backslash right before the next span's bracket would escape that.
        swallows = text.endswith("\\") and index + 1 < len(prompt.nodes)
        pieces.append(text if node.weight == 1.0 and not swallows else f"({text}:{plain_decimal(node.weight)})")
    return "".join(pieces)


def missing_in(syntax: str, node: Node) -> str:
    """What to say of a node that a syntax has no words for."""
    if isinstance(node, Schedule | Alternate):
        name = "schedules, [from:to:when]" if isinstance(node, Schedule) else "alternation, [a|b]"
        return f"{syntax} syntax cannot say {name}; convert the prompt of one step: prompt.at(step, steps)"
    if isinstance(node, And):
        return f"{syntax} syntax cannot say AND; convert its parts one by one: prompt.parts"
    if isinstance(node, Blend):
        return f"{syntax} syntax cannot say .blend(); keep the prompt in compel syntax"
    return f"{syntax} syntax cannot say BREAK; convert the texts before and after it one by one"
