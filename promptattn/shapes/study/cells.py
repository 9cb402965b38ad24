"""What the study compares: an arm (where and how a weight acts), a weight, and which word of an object carries it."""

from dataclasses import dataclass
from math import copysign

from promptattn.weighting import DEFAULT_STRENGTH, Weighting

__all__ = ["ARMS", "ODDS", "UNTOUCHED", "WEIGHTS", "Cell", "Effect", "grid"]

ARMS = ("auto", "denoiser", "text", "both", "power", "a1111", "odds")
"""Four places where odds can act, with the default strength; odds of |w| ** 6 in the denoiser without a ceiling;
A1111's embedding scaling; and plain odds in the denoiser, from which the strength is calibrated."""

WEIGHTS = (-1.0, 0.0, 0.25, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0)
ODDS = (0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 40.0)


@dataclass(frozen=True)
class Effect:
    """What is done to the word, whatever it was asked for as: two cells with the same effect share one image.

    `denoiser` and `text` are the odds there, `embedding` is what the token's embedding is scaled by.
    """

    denoiser: float = 1.0
    text: float = 1.0
    embedding: float = 1.0


UNTOUCHED = Effect()


@dataclass(frozen=True)
class Cell:
    """One arm at one weight (for the arm `odds`: at these odds), on one kind of word of the own object."""

    arm: str
    weight: float
    target: str

    @property
    def weighting(self) -> Weighting | None:
        """How the weight acts in attention; None where it does not."""
        if self.arm == "a1111":
            return None
        if self.arm in ("odds", "power"):
            return Weighting("denoiser", "exact")
        return Weighting(self.arm)  # type: ignore[arg-type]

    @property
    def written(self) -> float:
        """The weight that stands in the prompt."""
        if self.arm == "power":
            return copysign(abs(self.weight) ** DEFAULT_STRENGTH, self.weight) if self.weight else 0.0
        return self.weight

    @property
    def effect(self) -> Effect:
        way = self.weighting
        if way is None:
            return Effect(embedding=self.weight)
        # Rounded, so that what is the same but for the last bit is painted once.
        odds = way.in_denoiser(self.written), way.in_text_encoder(self.written)
        return Effect(*(float(f"{each:.6g}") for each in odds))


def grid(arms: tuple[str, ...], targets: tuple[str, ...]) -> list[Cell]:
    """All cells of these arms and targets, arm by arm."""
    return [
        Cell(arm, weight, target)
        for arm in arms
        for target in targets
        for weight in (ODDS if arm == "odds" else WEIGHTS)
    ]
