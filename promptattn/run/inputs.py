"""What a pipeline is called with in place of the user's prompts: embeddings, or clean texts where it encodes them."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from promptattn.errors import ConfigError
from promptattn.processors.layouts import Layout
from promptattn.processors.segments import Spoken, spoken_of
from promptattn.prompt import TokenPlan
from promptattn.run.text.encoding import Encoded

__all__ = ["embedding_inputs", "takes_negative_prompt", "text_inputs"]


def takes_negative_prompt(pipe: Any, denoiser: torch.nn.Module, *, given: bool) -> bool:
    """Whether the pipeline is to be called with a negative prompt, the empty one if none was `given`.

    Flux is guided by a number that it was trained with, and takes a negative prompt only where a user wants one. So do
    pipelines that encode their prompts themselves, which have their own for when there is none.

    Raises:
        ConfigError: when one was given to a pipeline that takes none.
    """
    takes = inspect.signature(pipe.__call__).parameters
    if spoken_of(denoiser) is not None and ("negative_prompt" in takes or not given):
        return given
    if "negative_prompt_embeds" not in takes:
        if given:
            raise ConfigError(f"{type(pipe).__name__} takes no negative prompt; leave it out.")
        return False
    return given or "true_cfg_scale" not in takes


def embedding_inputs(
    pipe: Any, layout: Layout, positive: Encoded, negative: Encoded | None, images_per_prompt: int | None
) -> dict[str, Any]:
    """The embeddings by the names of the pipeline's arguments, for so many images of each prompt."""
    inputs = _named(positive, "") | ({} if negative is None else _named(negative, "negative_"))
    return _repeated(inputs, layout, images_per_prompt) | _without_usual_negative(pipe, inputs)


def _named(encoded: Encoded, prefix: str) -> dict[str, torch.Tensor]:
    named = {"prompt_embeds": encoded.embeds, "prompt_attention_mask": encoded.mask}
    pooled = {"pooled_prompt_embeds": encoded.pooled}
    return {f"{prefix}{name}": each for name, each in (named | pooled).items() if each is not None}


def _repeated(inputs: dict[str, torch.Tensor], layout: Layout, images_per_prompt: int | None) -> dict[str, Any]:
    if images_per_prompt is None:
        return dict(inputs)
    if layout.repeats_text:
        return {**inputs, "num_images_per_prompt": images_per_prompt}
    return {name: each.repeat_interleave(images_per_prompt, dim=0) for name, each in inputs.items()}


def _without_usual_negative(pipe: Any, inputs: dict[str, torch.Tensor]) -> dict[str, None]:
    """No negative prompt where embeddings of it are given: some pipelines have one by default, and refuse both."""
    parameter = inspect.signature(pipe.__call__).parameters.get("negative_prompt")
    stands = parameter is not None and parameter.default is not None
    return {"negative_prompt": None} if stands and "negative_prompt_embeds" in inputs else {}


def text_inputs(
    spoken: Spoken,
    plans: Sequence[TokenPlan],
    *,
    negative: bool,
    images_per_prompt: int | None,
    max_sequence_length: int | None,
) -> dict[str, Any]:
    """The clean prompts, for a pipeline that encodes them itself; `negative`: the negative ones too."""
    texts: dict[str, Any] = {"prompt": [each.prompt.text for each in plans]}
    if negative:
        texts["negative_prompt"] = [each.negative_prompt.text for each in plans]
    inputs = {name: each[0] if len(each) == 1 else each for name, each in texts.items()}
    options = {"num_images_per_prompt": images_per_prompt, "max_sequence_length": max_sequence_length}
    given = {name: value for name, value in options.items() if value is not None}
    return inputs | given | dict.fromkeys(spoken.rewriters, False)
