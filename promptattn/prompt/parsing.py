"""`parse`: from what the user typed to a `Prompt`, whichever syntax it is written in."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Final

from promptattn.errors import ConfigError, PromptSyntaxError
from promptattn.prompt.a1111 import parse_a1111
from promptattn.prompt.comfy import parse_comfy
from promptattn.prompt.compel import parse_compel
from promptattn.prompt.diagnostics import raise_first_mistake
from promptattn.prompt.tree import Prompt

__all__ = ["SYNTAXES", "as_prompt", "check_syntax", "parse"]

SYNTAXES: Final[dict[str, Callable[[str], Prompt]]] = {
    "a1111": parse_a1111,
    "comfy": parse_comfy,
    "compel": parse_compel,
}


def parse(text: str, syntax: str = "a1111", strict: bool = False) -> Prompt:
    """Read a prompt. What looks like a mistake is reported in `.diagnostics`, with its place, and read all the same.

    `syntax` names how it is written: `a1111` is `(word:1.2)`, `[word]`, `BREAK`, `[from:to:when]`, `[a|b]`, `AND`;
    `comfy` is `(word:1.2)`; `compel` is `(word)1.2`, `word++`, `("a", "b").and()`, `.blend()`. Each module's docstring
    says how it differs from the system that it is named after.

    Raises `ConfigError` for a syntax that does not exist, `PromptSyntaxError` where `text` is not a string or uses
    compel's `.swap()`, and with `strict` for the first finding that looks like a mistake, pointing at its place.
    """
    check_syntax(syntax)
    if not isinstance(text, str):
        raise PromptSyntaxError(f"a prompt is one string, not {type(text).__name__}: {text!r:.60}")
    prompt = SYNTAXES[syntax](text)
    if strict:
        raise_first_mistake(text, prompt.diagnostics)
    return prompt


def check_syntax(name: str) -> None:
    """Raise `ConfigError` for a syntax that does not exist."""
    if name not in SYNTAXES:
        close = get_close_matches(str(name).lower(), SYNTAXES, n=1)
        meant = f"did you mean {close[0]}?" if close else f"there is: {', '.join(sorted(SYNTAXES))}."
        raise ConfigError(f"there is no prompt syntax {name!r}; {meant}")


def as_prompt(prompt: str | Prompt, syntax: str) -> Prompt:
    """The prompt, read in `syntax` where it is still a text."""
    return prompt if isinstance(prompt, Prompt) else parse(prompt, syntax=syntax)
