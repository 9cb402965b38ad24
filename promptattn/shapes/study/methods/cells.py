"""What is painted to compare methods, and in which order.

Every method gets the same weights on the own object's colour and on its noun; two more cells put 0.5 on one other word,
and on all other words of the caption at once, about ten. Scenes come in blocks, so that results that are only half
there are of all methods alike.
"""

from collections.abc import Iterator, Sequence

from promptattn.shapes.study.cases import Case
from promptattn.shapes.study.cells import Cell, grid
from promptattn.weighting import METHODS

__all__ = ["BLOCKS", "COMPANY", "COMPANY_SCENES", "COMPANY_WEIGHT", "LADDER", "TARGETS", "WEIGHTS", "blocks"]

TARGETS = ("colour", "noun")
LADDER = (0.0, 0.5, 1.0, 1.2, 1.5, 2.0, 3.0)
"""The weights over which a response is judged."""
WEIGHTS = (-1.0, *LADDER)

COMPANY = ("one", "all")
COMPANY_WEIGHT = 0.5
COMPANY_SCENES = 16

BLOCKS = (8, 16, 32)
"""After how many scenes the next begins with all methods again."""


def blocks(cases: Sequence[Case], methods: Sequence[str] = METHODS) -> Iterator[tuple[Sequence[Case], list[Cell]]]:
    """Scenes, and the cells to fill for them; what earlier blocks have filled is in later ones again."""
    sizes = [size for size in BLOCKS if size < len(cases)]
    for size in (*sizes, len(cases)):
        yield cases[:size], grid(methods, TARGETS, WEIGHTS)
        yield cases[: min(size, COMPANY_SCENES)], grid(methods, COMPANY, (1.0, COMPANY_WEIGHT))
