"""What a weight does: from the number in the prompt to odds in the attention, or to another text embedding."""

from promptattn.weighting.embedding import EMBEDDING_METHODS, NORMALISATIONS, EmbeddingWeighting
from promptattn.weighting.limits import LIMITS, Limit, overweight
from promptattn.weighting.methods import METHODS, Method, chosen
from promptattn.weighting.odds import CEILING, DEFAULT_STRENGTH, PLACES, Strength, Weighting
from promptattn.weighting.reach import check_reach

__all__ = [
    "CEILING",
    "DEFAULT_STRENGTH",
    "EMBEDDING_METHODS",
    "LIMITS",
    "METHODS",
    "NORMALISATIONS",
    "PLACES",
    "EmbeddingWeighting",
    "Limit",
    "Method",
    "Strength",
    "Weighting",
    "check_reach",
    "chosen",
    "overweight",
]
