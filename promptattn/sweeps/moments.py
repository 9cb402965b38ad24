"""Every plain text that a prompt comes to: at its steps, of its parts, of what it blends."""

from collections.abc import Iterator

from promptattn.prompt import Prompt
from promptattn.prompt.mixture import mixture

__all__ = ["plain_prompts"]


def plain_prompts(prompt: Prompt, steps: int) -> Iterator[Prompt]:
    """The plain prompts that `prompt` is made of in a run of `steps`, in the order in which they come."""
    for part in prompt.parts:
        for _, moment in part.prompt.timeline(steps):
            yield from (mixed for mixed, _ in mixture(moment))
