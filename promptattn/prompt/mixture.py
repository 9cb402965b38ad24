"""What a prompt mixes: the texts of a blend, each with its share."""

from promptattn.prompt.nodes import Blend
from promptattn.prompt.tree import Prompt

__all__ = ["mixture"]


def mixture(prompt: Prompt) -> list[tuple[Prompt, float]]:
    """The prompts whose embeddings are mixed, with what each is multiplied by; the prompt itself where it is no blend.

    Of a blend that normalises, the weights are divided by their sum.
    """
    only = prompt.nodes[0] if len(prompt.nodes) == 1 else None
    if not isinstance(only, Blend):
        return [(prompt, 1.0)]
    total = sum(part.weight for part in only.parts) if only.normalise else 1.0
    return [(part.prompt, part.weight / total) for part in only.parts]
