"""What a weight does: from the number in the prompt to odds in the attention, or to another text embedding."""

from promptattn.weighting.embedding import EMBEDDING_METHODS, NORMALISATIONS, EmbeddingWeighting
from promptattn.weighting.methods import METHODS, Method, chosen
from promptattn.weighting.odds import CEILING, DEFAULT_STRENGTH, PLACES, Strength, Weighting

__all__ = [
    "CEILING",
    "DEFAULT_STRENGTH",
    "EMBEDDING_METHODS",
    "METHODS",
    "NORMALISATIONS",
    "PLACES",
    "EmbeddingWeighting",
    "Method",
    "Strength",
    "Weighting",
    "chosen",
]
