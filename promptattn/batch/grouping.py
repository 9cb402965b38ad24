"""Which lines of a batch go into one call of the pipeline."""

import json
from collections.abc import Sequence
from typing import Any

from promptattn.batch.items import Item
from promptattn.run.together import shape_of

__all__ = ["Group", "groups_of"]

Group = list[Item]
"""Lines that are made in one call, in the order of the file."""

# What differs from line to line within one call, or does not matter to it.
_OWN = ("prompt", "negative_prompt", "seed", "export")


def groups_of(pipe: Any, items: Sequence[Item], size: int) -> list[Group]:
    """The items in groups of `size` at most that can share a call without changing each other.

    Formed of all lines, whatever is done already and however many processes there are, so that a line is always made
    in the same company: in another one it might be rounded differently.
    """
    if size == 1:
        return [[item] for item in items]
    together: dict[Any, Group] = {}
    known: dict[Any, set[int]] = {}
    for item in items:
        together.setdefault(_company(pipe, item, known), []).append(item)
    groups = [alike[first : first + size] for alike in together.values() for first in range(0, len(alike), size)]
    return sorted(groups, key=lambda group: group[0].line.number)


def _company(pipe: Any, item: Item, known: dict[Any, set[int]]) -> Any:
    """Equal for lines that can share a call; of one that goes alone, its name."""
    config = item.config
    # Words to capture that one prompt lacks are an error of that line, and not of a call in which another has them.
    if config.images > 1 or (config.capture is not None and config.capture.words is not None):
        return item.name
    shape = shape_of(
        pipe,
        item.prompt,
        item.negative,
        steps=config.steps,
        syntax=config.syntax,
        max_sequence_length=config.max_sequence_length,
        known=known,
    )
    if shape is None:
        return item.name
    alike = {key: value for key, value in item.request.items() if key not in _OWN}
    return json.dumps(alike, sort_keys=True, default=str), item.negative is None, shape
