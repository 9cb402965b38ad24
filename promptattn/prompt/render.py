"""Writing a prompt in one of the syntaxes that `parse` reads."""

from collections.abc import Callable
from typing import Final

from promptattn.prompt.parsing import check_syntax
from promptattn.prompt.render_a1111 import render_a1111
from promptattn.prompt.render_comfy import render_comfy
from promptattn.prompt.render_compel import render_compel
from promptattn.prompt.tree import Prompt

__all__ = ["RENDERERS", "render"]

RENDERERS: Final[dict[str, Callable[[Prompt], str]]] = {
    "a1111": render_a1111,
    "comfy": render_comfy,
    "compel": render_compel,
}


def render(prompt: Prompt, syntax: str = "a1111") -> str:
    """`Prompt.render`."""
    check_syntax(syntax)
    return RENDERERS[syntax](prompt)
