"""From rows of a text to columns of the maps, for relations whose queries are the text's own rows."""

from collections.abc import Sequence

import torch

from promptattn.maps.capture import Relation
from promptattn.maps.recorder import Arrange, Source
from promptattn.run.text.script import Timeline

__all__ = ["arrangement"]


def arrangement(relation: Relation, timeline: Timeline, images: Sequence[int]) -> Arrange | None:
    """What makes of a recorder's `[image, (head,) query, column]` one whose axes mean the same for every text.

    `text->image`: from `[..., text row, place]` to `[..., place, column]`: each row of a text that holds a token goes
    to that token's column, which is the mean of several such rows; others stay empty. `text->text`: from `[..., text
    row, column]` to `[..., column, column]` likewise. None for the other relations, which have no rows of text.

    images: the prompt of each image.
    """
    columns = timeline.columns

    def looking(source: Source, mass: torch.Tensor) -> torch.Tensor:
        whole = mass.new_zeros(*mass.shape[:-2], mass.shape[-1], columns.count)
        for image, prompt in enumerate(images):
            rows, places = columns.token_rows(*timeline.texts[source], prompt)
            whole[image] = _means(mass[image][..., rows, :], places, columns.count).mT
        return whole

    def between(source: Source, mass: torch.Tensor) -> torch.Tensor:
        whole = mass.new_zeros(*mass.shape[:-2], columns.count, columns.count)
        for image, prompt in enumerate(images):
            rows, places = columns.token_rows(*timeline.texts[source], prompt)
            whole[image] = _means(mass[image][..., rows, :], places, columns.count)
        return whole

    return {"text->image": looking, "text->text": between}.get(relation)


def _means(mass: torch.Tensor, places: torch.Tensor, count: int) -> torch.Tensor:
    """From `[..., row, entry]` and the place of each row to `[..., place, entry]`, empty where there is no row."""
    places = places.to(mass.device)
    rows = torch.bincount(places, minlength=count).clamp(min=1)
    whole = mass.new_zeros(*mass.shape[:-2], count, mass.shape[-1]).index_add_(-2, places, mass)
    return whole / rows[:, None]
