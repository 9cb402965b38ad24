"""What an embedding method needs of a text encoder, and what it makes of it: a recipe per prompt and encoder."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from promptattn.prompt import EncoderPlan
from promptattn.weighting.embedding import EmbeddingWeighting
from promptattn.weighting.formulas import from_empty, scaled

__all__ = ["Reading", "Recipe", "plain_reading", "recipe"]


@dataclass(frozen=True)
class Reading:
    """What a text encoder is given to read for one prompt, all windows one after the other.

    ids: one per row; hidden: the rows that no row may attend to, beyond those that the pipeline hides anyway.
    """

    ids: tuple[int, ...]
    hidden: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Recipe:
    """How one encoder's embedding of one prompt is weighted.

    readings: what the encoder is to read beside the prompt itself.
    weigh: from the embedding of the prompt, `[window, row, channel]`, and those of the readings, `[reading, window,
        row, channel]`, to the weighted one.
    """

    readings: tuple[Reading, ...]
    weigh: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def plain_reading(plan: EncoderPlan) -> Reading:
    """The prompt itself."""
    return Reading(tuple(identity for chunk in plan.chunks for identity in chunk.ids))


def recipe(method: EmbeddingWeighting, plan: EncoderPlan) -> Recipe | None:
    """The recipe for this plan; None where its weights are all 1, and nothing is to be done."""
    if not plan.is_weighted:
        return None
    weight = torch.tensor(plan.weights, dtype=torch.float64).view(len(plan.chunks), plan.window)
    if method.method == "a1111":
        return Recipe((), lambda base, _: scaled(base, weight, restore_mean=method.restore_mean))
    empty = Reading(plan.empty_chunk.ids * len(plan.chunks))
    return Recipe((empty,), lambda base, others: from_empty(base, others[0], weight))
