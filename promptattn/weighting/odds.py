"""From prompt weights to odds in the attention (the `w` of the formula in :mod:`promptattn.core`)."""

import math
from dataclasses import dataclass
from typing import Literal

from promptattn.errors import ConfigError

__all__ = ["DEFAULT_STRENGTH", "PLACES", "Strength", "Weighting"]

Strength = float | Literal["exact"] | None
Place = Literal["auto", "text", "denoiser", "both"]

PLACES: tuple[Place, ...] = ("auto", "text", "denoiser", "both")

# `(red:1.2)` multiplies the odds by 1.2 ** 6, about 3. Measured on a prototype of the shapes UNet: plain odds of 1.2
# are hardly seen, and embedding scaling of 1.5, as users know it, moves the image about as much as odds of 12.
DEFAULT_STRENGTH = 6.0

# Below this weight the text encoder takes part under where="auto". On the prototype, odds of 0.12 and more in the text
# encoder did nothing, large ones acted backwards, and 0 removed the object better than anything else.
_FADE = 0.1

# float32 carries odds up to about 3e38; beyond this the word has all the attention there is anyway.
_LARGEST_ODDS = 1e30


@dataclass(frozen=True)
class Weighting:
    """How prompt weights act in attention.

    Attributes:
        where: `denoiser`: a weight w multiplies the word's odds in cross-attention by |w| ** strength (and the sign
            goes to its value); `text`: the same among the keys of the text encoder; `both`; `auto` (the default): in
            the denoiser, and in the text encoder only for weights between -0.1 and 0.1, where it fades the word out.
        strength: the exponent; None is :data:`DEFAULT_STRENGTH`. `"exact"` means plain odds w, and turns `auto` into
            `both`.

    Raises:
        ConfigError: for a place that does not exist or a strength that is not a positive finite number.
    """

    where: Place = "auto"
    strength: Strength = None

    def __post_init__(self) -> None:
        if self.where not in PLACES:
            raise ConfigError(f"where={self.where!r} is no place for weights to act; choose from {', '.join(PLACES)}.")
        strength = self.strength
        if strength is None or strength == "exact":
            return
        if isinstance(strength, str) or not (math.isfinite(strength) and strength > 0):
            raise ConfigError(f'strength={strength!r} must be "exact" or a positive number (the default is 6).')

    def in_denoiser(self, weight: float) -> float:
        """Odds of a word of this weight in the denoiser's cross-attention; 1 leaves it alone."""
        return 1.0 if self.where == "text" else self._odds(weight)

    def in_text_encoder(self, weight: float) -> float:
        """Odds of a word of this weight among the keys of the text encoder; 1 leaves it alone."""
        if self.where == "denoiser":
            return 1.0
        if self.where == "auto" and self.strength != "exact":
            return min(abs(weight) / _FADE, 1.0)
        return self._odds(weight)

    def _odds(self, weight: float) -> float:
        exponent = 1.0 if self.strength == "exact" else DEFAULT_STRENGTH if self.strength is None else self.strength
        try:
            size = min(abs(weight) ** float(exponent), _LARGEST_ODDS)
        except OverflowError:
            size = _LARGEST_ODDS
        return math.copysign(size, weight) if weight else 0.0
