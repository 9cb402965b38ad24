"""What the study compares: an arm (where and how a weight acts), a weight, and which word of an object carries it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign

from promptattn.weighting import DEFAULT_STRENGTH, METHODS, PLACES, EmbeddingWeighting, Method, Weighting, chosen

__all__ = ["ARMS", "ODDS", "UNTOUCHED", "WEIGHTS", "Cell", "Effect", "grid"]

ARMS = ("auto", "denoiser", "text", "both", "power", "a1111", "odds")
"""Four places where odds can act, with the default strength; odds of |w| ** 6 in the denoiser without a ceiling;
A1111's embedding scaling; and plain odds in the denoiser, from which the strength is calibrated. An arm may also be
the name of any weighting method; `attention` is the same as `auto`."""

WEIGHTS = (-1.0, 0.0, 0.25, 0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0)
ODDS = (0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 40.0)


@dataclass(frozen=True)
class Effect:
    """What is done to the word, whatever it was asked for as: two cells with the same effect share one image.

    `denoiser` and `text` are what it is weighted by in the attention there, by `rule` (`odds`, `prompt-to-prompt`,
    `negpip`); `embedding` is the weight that its embedding carries, by the method that `rule` names then.
    """

    denoiser: float = 1.0
    text: float = 1.0
    embedding: float = 1.0
    rule: str = "odds"

    @classmethod
    def read(cls, numbers: Sequence[float | str]) -> "Effect":
        """From the list that a result is kept with. Where it names no rule, only odds and A1111's scaling existed."""
        if len(numbers) == 3:
            numbers = [*numbers, "odds" if numbers[2] == 1 else "a1111"]
        return cls(*numbers)  # type: ignore[arg-type]


UNTOUCHED = Effect()


@dataclass(frozen=True)
class Cell:
    """One arm at one weight (for the arm `odds`: at these odds), on one kind of word of the own object."""

    arm: str
    weight: float
    target: str

    @property
    def method(self) -> Method:
        """How the weight acts, as `attend` takes it."""
        if self.arm in ("odds", "power"):
            return Weighting("denoiser", "exact")
        if self.arm in PLACES:
            return Weighting(self.arm)
        return chosen(self.arm)

    @property
    def written(self) -> float:
        """The weight that stands in the prompt."""
        if self.arm == "power":
            return copysign(abs(self.weight) ** DEFAULT_STRENGTH, self.weight) if self.weight else 0.0
        return self.weight

    @property
    def effect(self) -> Effect:
        method = self.method
        if self.weight == 1:
            return UNTOUCHED
        if isinstance(method, EmbeddingWeighting):
            return Effect(embedding=self.weight, rule=_same(method.name, self.weight))
        # Rounded, so that what is the same but for the last bit is painted once.
        acting = method.in_denoiser(self.written), method.in_text_encoder(self.written)
        denoiser, text = (float(f"{each:.6g}") for each in acting)
        return UNTOUCHED if denoiser == text == 1 else Effect(denoiser, text, rule=method.rule)


def _same(method: str, weight: float) -> str:
    """The method that does the same to a prompt with this one weight and is painted in this one's place.

    Above 1 compel moves a word away from the empty prompt as ComfyUI does; below 1 comfy++ is down_weight."""
    if method == "compel" and weight > 1:
        return "comfy"
    if method == "down_weight" and weight < 1:
        return "comfy++"
    return method


def grid(arms: Sequence[str], targets: Sequence[str], weights: Sequence[float] = WEIGHTS) -> list[Cell]:
    """All cells of these arms and targets, arm by arm."""
    assert set(arms) <= {*ARMS, *METHODS}
    return [
        Cell(arm, weight, target)
        for arm in arms
        for target in targets
        for weight in (ODDS if arm == "odds" else weights)
    ]
