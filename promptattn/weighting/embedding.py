"""The embedding methods: weights that act on the text encoders' output, as users know them from other tools."""

from dataclasses import dataclass
from typing import Literal

from promptattn.errors import ConfigError
from promptattn.weighting.odds import KeyRule

__all__ = [
    "EMBEDDING_METHODS",
    "NORMALISATIONS",
    "POOLED_METHODS",
    "EmbeddingMethod",
    "EmbeddingWeighting",
    "Normalisation",
]

EmbeddingMethod = Literal["a1111", "comfy", "compel", "comfy++", "down_weight"]
Normalisation = Literal["none", "mean", "length", "length+mean"]

EMBEDDING_METHODS: tuple[EmbeddingMethod, ...] = ("a1111", "comfy", "compel", "comfy++", "down_weight")
NORMALISATIONS: tuple[Normalisation, ...] = ("none", "mean", "length", "length+mean")
POOLED_METHODS: tuple[EmbeddingMethod, ...] = ("comfy++", "down_weight")
"""The methods that say what a weight does to the pooled embedding."""


@dataclass(frozen=True)
class EmbeddingWeighting:
    """How prompt weights act on text embeddings; the denoiser's attention is left alone.

    Attributes:
        method: `a1111`: rows are scaled, and each window's mean restored; `comfy`: rows are moved from those of the
            empty prompt; `compel`: likewise, and weights below 1 blend in copies of the prompt in which the words are
            hidden; `comfy++`, `down_weight`: rows are moved from those of copies in which a mask token stands in the
            words' place. docs/methods.md has the formulas and their sources.
        normalisation: what is done to the weights first: `length` brings those of words of several tokens nearer to 1,
            `mean` shifts all so that their mean is 1, `length+mean` does both in this order.
        restore_mean: `a1111` only: whether a window's mean is restored (its "Original") or not (its "No norm").
        pooled: whether the pooled embedding is weighted too, by `comfy++` or `down_weight`. False leaves that of the
            unweighted text.

    Raises:
        ConfigError: for a method or normalisation that does not exist, and options that the method does not have.
    """

    method: EmbeddingMethod
    normalisation: Normalisation = "none"
    restore_mean: bool = True
    pooled: bool = False

    def __post_init__(self) -> None:
        if self.method not in EMBEDDING_METHODS:
            known = ", ".join(EMBEDDING_METHODS)
            raise ConfigError(f"method={self.method!r} is no embedding method; choose from {known}.")
        if self.normalisation not in NORMALISATIONS:
            known = ", ".join(NORMALISATIONS)
            raise ConfigError(f"normalisation={self.normalisation!r} is none of {known}.")
        if not self.restore_mean and self.method != "a1111":
            raise ConfigError(
                f"restore_mean=False: {self.method!r} restores no mean, only 'a1111' does; leave the option out."
            )
        if self.pooled and self.method not in POOLED_METHODS:
            raise ConfigError(
                f"pooled=True: {self.method!r} leaves the pooled embedding as it is; it is weighted by"
                f" {' and '.join(POOLED_METHODS)}."
            )

    @property
    def name(self) -> str:
        """The name by which `weighting=` takes the method."""
        return self.method

    @property
    def key_rule(self) -> KeyRule:
        """What the core's attention goes by; without an effect, as no odds differ from 1."""
        return "odds"

    def in_denoiser(self, weight: float) -> float:
        """Odds in the denoiser's attention: 1, which leaves it alone."""
        return 1.0

    def in_text_encoder(self, weight: float) -> float:
        """Odds in the text encoder's attention: 1, which leaves it alone."""
        return 1.0
