"""Which prompts can share one call of a pipeline without changing each other."""

from collections.abc import Iterator
from typing import Any

from promptattn.prompt import Prompt, parse, plan
from promptattn.prompt.mixture import mixture
from promptattn.run.loading.load import recommended

__all__ = ["USUAL_STEPS", "plain_prompts", "shape_of"]

USUAL_STEPS = 50  # of which a schedule is thought where the pipeline chooses


def shape_of(
    pipe: Any,
    prompt: str,
    negative_prompt: str | None,
    *,
    steps: int | None = None,
    syntax: str = "a1111",
    max_sequence_length: int | None = None,
    known: dict[Any, set[int]] | None = None,
) -> tuple[int, int] | None:
    """How many parts and chunks a prompt takes; those of one shape can share a call.

    Prompts of one call are padded to the chunks of the longest, and its padding is attended to, so only prompts of as
    many chunks go together; with AND, only those of as many parts. One whose chunks change from step to step goes
    alone: of it this is None.

    known: remembers the chunks of a text from call to call, so that one that comes again is not planned again.
    """
    steps = int(steps or recommended(pipe).get("num_inference_steps", USUAL_STEPS))
    known = {} if known is None else known

    def chunks(text: str) -> set[int]:
        key = (text, steps, syntax, max_sequence_length)
        if key not in known:
            plain = set(plain_prompts(parse(text, syntax), steps))
            planned = [plan(pipe, each, max_sequence_length=max_sequence_length) for each in plain]
            known[key] = {max(len(encoder.chunks) for encoder in each.encoders) for each in planned}
        return known[key]

    own, others = chunks(prompt), chunks(negative_prompt or "")
    alike = len(own) == 1 and (len(others) == 1 or max(others) <= max(own))
    return (len(parse(prompt, syntax).parts), max(own | others)) if alike else None


def plain_prompts(prompt: Prompt, steps: int) -> Iterator[Prompt]:
    """The plain prompts that `prompt` is made of in a run of `steps`: at its steps, of its parts, of what it blends."""
    for part in prompt.parts:
        for _, moment in part.prompt.timeline(steps):
            yield from (mixed for mixed, _ in mixture(moment))
