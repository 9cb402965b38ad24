"""What an embedding method needs of a text encoder, and what it makes of it: a recipe per prompt and encoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from promptattn.prompt import EncoderPlan
from promptattn.prompt.tokens import Tokenizer
from promptattn.weighting.embedding import EmbeddingWeighting
from promptattn.weighting.formulas import blended, from_empty, hiding, lifted, mixed, scaled
from promptattn.weighting.masking import Reading, empty_reading, fragments_of, mask_token, masked, plain_reading
from promptattn.weighting.normalise import normalised, words_of

__all__ = ["Recipe", "recipe"]

Weigh = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How one encoder's embedding of one prompt is weighted.

    readings: what the encoder is to read beside the prompt itself.
    weigh: from the embedding of the prompt, `[window, row, channel]`, and those of the readings, `[reading, window,
        row, channel]`, to the weighted one.
    weigh_pooled: likewise for the pooled embedding of the first window, `[channel]` and `[reading, channel]`; None
        where the method leaves it alone.
    """

    readings: tuple[Reading, ...]
    weigh: Weigh
    weigh_pooled: Weigh | None = None


def recipe(method: EmbeddingWeighting, plan: EncoderPlan, tokenizer: Tokenizer) -> Recipe | None:
    """The recipe for this plan; None where its weights are all 1, and nothing is to be done.

    Raises:
        WeightingError: when the method cannot act on this encoder.
    """
    if not plan.is_weighted:
        return None
    weights = normalised(plan.weights, words_of(plan), method.normalisation)
    if method.method == "a1111":
        return _a1111(plan, weights, method.restore_mean)
    if method.method == "comfy":
        return _comfy(plan, weights)
    if method.method == "compel":
        return _compel(plan, weights)
    token = mask_token(tokenizer, plan.name)
    return _comfy_plus(plan, weights, token) if method.method == "comfy++" else _down_weight(plan, weights, token)


def _a1111(plan: EncoderPlan, weights: Sequence[float], restore_mean: bool) -> Recipe:
    return Recipe((), lambda z, _: scaled(z, _windows(plan, weights, z), restore_mean=restore_mean))


def _comfy(plan: EncoderPlan, weights: Sequence[float]) -> Recipe:
    return Recipe((empty_reading(plan),), lambda z, others: from_empty(z, others[0], _windows(plan, weights, z)))


def _compel(plan: EncoderPlan, weights: Sequence[float]) -> Recipe:
    """Rows are moved from the empty prompt's, and so are those of a copy for each run of words below 1, which the
    encoder reads with these words hidden; then the copies are blended in, within the run's part of the prompt."""
    runs = [run for run in fragments_of(plan, weights) if run.weight < 1]
    shares = [[hiding(run.weight) * (window in run.windows) for window in range(len(plan.chunks))] for run in runs]
    copies = tuple(replace(plain_reading(plan), hidden=run.hidden(plan)) for run in runs)

    def weigh(z: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        w, empty = _windows(plan, weights, z), others[0]
        moved, hidden = from_empty(z, empty, w), from_empty(others[1:], empty, w)
        return blended(moved, hidden, z.new_tensor(shares)) if runs else moved

    return Recipe((empty_reading(plan), *copies), weigh)


def _down_weight(plan: EncoderPlan, weights: Sequence[float], token: int) -> Recipe:
    """All weights divided by the largest, so that none is above 1; then the mix."""
    top = max(weights)  # at least 1: rows without a token have weight 1
    tokens = {token.slot for token in plan.tokens}
    below = [weight / top if row in tokens else 1.0 for row, weight in enumerate(weights)]
    levels, readings = _masked_by_level(plan, below, token)

    def weigh(z: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        return mixed(z, others, z.new_tensor(levels))

    return Recipe(readings, weigh, weigh)


def _comfy_plus(plan: EncoderPlan, weights: Sequence[float], token: int) -> Recipe:
    """The mix for weights below 1, and rows of words above 1 lifted from where the word is masked."""
    levels, down = _masked_by_level(plan, weights, token)
    words = [rows for rows in words_of(plan) if any(weights[row] > 1 for row in rows)]
    excess = [_excess(weights, rows) for rows in words]
    up = tuple(masked(plan, rows, token) for rows in words)

    def weigh(z: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        below, above = others[: len(down)], others[len(down) :]
        result = mixed(z, below, z.new_tensor(levels))
        return result + lifted(z, above, z.new_tensor(excess).unflatten(1, z.shape[:2])) if words else result

    def weigh_pooled(pooled: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        below, above = others[: len(down)], others[len(down) :]
        result = mixed(pooled, below, pooled.new_tensor(levels))
        if not words:
            return result
        largest = pooled.new_tensor([max(each) for each in excess])
        return result + ((pooled - above) * largest[:, None]).mean(0)

    return Recipe((*down, *up), weigh, weigh_pooled)


def _masked_by_level(
    plan: EncoderPlan, weights: Sequence[float], token: int
) -> tuple[list[float], tuple[Reading, ...]]:
    """The distinct weights below 1, ascending, and for each the prompt with all words up to that weight masked."""
    levels = sorted({weight for weight in weights if weight < 1})
    upto = [{row for row, weight in enumerate(weights) if weight <= level} for level in levels]
    return levels, tuple(masked(plan, rows, token) for rows in upto)


def _excess(weights: Sequence[float], rows: Sequence[int]) -> list[float]:
    return [max(weight - 1, 0.0) if row in rows else 0.0 for row, weight in enumerate(weights)]


def _windows(plan: EncoderPlan, weights: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """The weights `[window, row]`, where and as what the embedding is."""
    return like.new_tensor(weights).view(len(plan.chunks), plan.window)
