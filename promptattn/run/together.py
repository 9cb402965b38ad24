"""Which prompts can share one call of a pipeline without changing each other."""

from collections.abc import Iterator
from typing import Any

from promptattn.prompt import Prompt, parse, plan
from promptattn.prompt.mixture import mixture
from promptattn.run.loading.load import recommended

__all__ = ["plain_prompts", "shape_of"]

_USUAL_STEPS = 50  # of which a schedule is thought where the pipeline chooses


def shape_of(
    pipe: Any,
    prompt: str,
    negative_prompt: str | None,
    *,
    steps: int | None = None,
    syntax: str = "a1111",
    max_sequence_length: int | None = None,
) -> tuple[int, int] | None:
    """How many parts and chunks a prompt takes; those of one shape can share a call.

    Prompts of one call are padded to the chunks of the longest, and its padding is attended to, so only prompts of as
    many chunks go together; with AND, only those of as many parts. One whose chunks change from step to step goes
    alone: of it this is None.
    """
    steps = int(steps or recommended(pipe).get("num_inference_steps", _USUAL_STEPS))
    positive, negative = parse(prompt, syntax), parse(negative_prompt or "", syntax)

    def chunks(text: Prompt) -> set[int]:
        planned = [
            plan(pipe, plain, max_sequence_length=max_sequence_length) for plain in set(plain_prompts(text, steps))
        ]
        return {max(len(encoder.chunks) for encoder in each.encoders) for each in planned}

    own, others = chunks(positive), chunks(negative)
    alike = len(own) == 1 and (len(others) == 1 or max(others) <= max(own))
    return (len(positive.parts), max(own | others)) if alike else None


def plain_prompts(prompt: Prompt, steps: int) -> Iterator[Prompt]:
    """The plain prompts that `prompt` is made of in a run of `steps`: at its steps, of its parts, of what it blends."""
    for part in prompt.parts:
        for _, moment in part.prompt.timeline(steps):
            yield from (mixed for mixed, _ in mixture(moment))
