"""Every plain text that a prompt comes to: at its steps, of its parts, of what it blends."""

from collections.abc import Iterator

from promptattn.prompt import Blend, Prompt

__all__ = ["plain_prompts"]


def plain_prompts(prompt: Prompt, steps: int) -> Iterator[Prompt]:
    """The plain prompts that `prompt` is made of in a run of `steps`, in the order in which they come."""
    for part in prompt.parts:
        for _, moment in part.prompt.timeline(steps):
            only = moment.nodes[0] if len(moment.nodes) == 1 else None
            yield from (inner.prompt for inner in only.parts) if isinstance(only, Blend) else (moment,)
