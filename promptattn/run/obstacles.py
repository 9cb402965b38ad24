"""What stands in the way of scheduled and composed prompts in one pipeline: refused, or said, before anything runs."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from promptattn.errors import ConfigError, UnsupportedModelError
from promptattn.processors.segments import Spoken, spoken_of
from promptattn.prompt import Prompt
from promptattn.run.text.script import Script
from promptattn.telling import tell

__all__ = ["check_obstacles"]


def check_obstacles(
    pipe: Any, denoiser: torch.nn.Module, script: Script, prompts: Sequence[Prompt], guided: bool
) -> None:
    """Refuse what cannot be carried out in this pipeline, and warn of what is not what it seems.

    Args:
        guided: whether there is a negative prompt for the pipeline to be guided by.

    Says so where the pipeline's own call would read another text than is read here.

    Raises:
        UnsupportedModelError: for AND in a denoiser that keeps what it computed from call to call, and for more than
            one plain text in a pipeline that encodes its prompt itself.
        ConfigError: for parts whose weights have no mean, where AND can only average, and for a negative prompt that
            cannot be told from the prompt.
    """
    if script.is_composed and getattr(denoiser, "is_cache_enabled", False):
        raise UnsupportedModelError(
            f"{type(denoiser).__name__} keeps what it computed from call to call, so parts joined by AND would get each"
            " other's; call disable_cache() on it first."
        )
    if script.is_composed and not guided:
        _check_mean(type(pipe).__name__, prompts)
    if spoken := spoken_of(denoiser):
        _check_spoken(type(pipe).__name__, script, guided)
        _tell_of_rewriting(pipe, spoken)
    _tell_of_cleaning(pipe, [text.text for each in script.plans for text in (each.prompt, each.negative_prompt)])
    if getattr(pipe, "controlnet", None) is not None and (script.is_scheduled or script.is_composed):
        tell(
            "the ControlNet reads one text of the prompt throughout; only the denoiser gets those of other steps and"
            " parts."
        )


def _check_spoken(name: str, script: Script, guided: bool) -> None:
    if script.is_scheduled or script.is_composed or script.is_blended:
        raise UnsupportedModelError(
            f"{name} encodes its prompt itself, so it can be given one plain text only: no schedule"
            " ([a:b:0.5], [a|b]), no AND and no blend."
        )
    negatives = {each.negative_prompt.text.strip() for each in script.plans} if guided else ()
    if both := next((each.prompt.text for each in script.plans if each.prompt.text.strip() in negatives), None):
        raise ConfigError(
            f"prompt and negative prompt are the same text, {both!r:.60}; {name} encodes them itself, so nothing tells"
            " their rows apart; change one of them."
        )


def _tell_of_rewriting(pipe: Any, spoken: Spoken) -> None:
    for argument, part in spoken.rewriters.items():
        if getattr(pipe, part, None) is not None:
            tell(
                f"{type(pipe).__name__} would have a language model rewrite the prompt; here it is read as it stands"
                f" ({argument}=False, in run.inputs)."
            )


def _tell_of_cleaning(pipe: Any, texts: Sequence[str]) -> None:
    """PixArt's pipelines rewrite captions (`clean_caption`) where the packages for it are installed."""
    parameter = inspect.signature(pipe.__call__).parameters.get("clean_caption")
    if parameter is None or parameter.default is not True or not _can_clean():
        return
    for text in dict.fromkeys(texts):
        (plain,), (cleaned,) = (pipe._text_preprocessing([text], clean_caption=clean) for clean in (False, True))
        if cleaned != plain:
            tell(
                f"{type(pipe).__name__} would clean {text!r:.60} to {cleaned!r:.60} by itself; here it is read as it"
                " stands. Write the cleaned text to have the very same image."
            )


def _can_clean() -> bool:
    from diffusers.utils import is_bs4_available, is_ftfy_available

    return bool(is_bs4_available() and is_ftfy_available())


def _check_mean(name: str, prompts: Sequence[Prompt]) -> None:
    for prompt in prompts:
        if sum(part.weight for part in prompt.parts) <= 0:
            raise ConfigError(
                f"{name} is not guided by a negative prompt here, so parts joined by AND are averaged by their weights,"
                f" and those of {prompt.render()!r} do not add up to more than 0; give a negative_prompt and a"
                " true_cfg_scale above 1, or other weights."
            )
    tell(
        f"{name} is not guided by a negative prompt here, so the predictions of the parts joined by AND are averaged by"
        " their weights; give a negative_prompt and a true_cfg_scale above 1 to add them up."
    )
