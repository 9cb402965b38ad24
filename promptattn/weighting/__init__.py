"""What a weight does: from the number in the prompt to odds in the attention, in each place where it can act."""

from promptattn.weighting.odds import CEILING, DEFAULT_STRENGTH, PLACES, Strength, Weighting

__all__ = ["CEILING", "DEFAULT_STRENGTH", "PLACES", "Strength", "Weighting"]
