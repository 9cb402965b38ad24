"""The prompts of a run as text in one syntax, from which the same prompts are read again."""

from collections.abc import Sequence
from typing import Any

from promptattn.errors import PromptSyntaxError
from promptattn.prompt import Prompt, parse
from promptattn.prompt.parsing import SYNTAXES
from promptattn.telling import tell

__all__ = ["prompts_written"]

Prompts = str | Prompt | Sequence[str | Prompt]


def prompts_written(prompt: Prompts, negative_prompt: Prompts | None, syntax: str, count: int) -> dict[str, Any]:
    """`prompt`, `negative_prompt` and `syntax` as settings of a generation; one prompt for all is repeated.

    Text stays as it was typed. A prompt made in code is written in `syntax`, or, where that cannot say it, all are
    written in the first syntax that can. Warns where none can.
    """
    positive = _listed(prompt, count)
    negative = None if negative_prompt is None else _listed(negative_prompt, count)
    for wanted in (syntax, *(other for other in SYNTAXES if other != syntax)):
        try:
            texts = [[_written(each, syntax, wanted) for each in side] for side in (positive, negative or [])]
        except PromptSyntaxError:
            continue
        return {"prompt": texts[0], "negative_prompt": None if negative is None else texts[1], "syntax": wanted}
    tell(
        "the prompts were made in code, and no one syntax can write all of them: the settings hold their bare text,"
        " which does not make the images again."
    )
    texts = [
        [each if isinstance(each, str) else each.source or "" for each in side] for side in (positive, negative or [])
    ]
    return {"prompt": texts[0], "negative_prompt": None if negative is None else texts[1], "syntax": syntax}


def _listed(prompt: Prompts, count: int) -> list[str | Prompt]:
    prompts = [prompt] if isinstance(prompt, str | Prompt) else list(prompt)
    return prompts * (count // len(prompts))


def _written(prompt: str | Prompt, typed: str, wanted: str) -> str:
    if isinstance(prompt, str):
        return prompt if typed == wanted else parse(prompt, typed).render(wanted)
    return prompt.render(wanted)
