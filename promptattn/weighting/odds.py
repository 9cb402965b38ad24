"""From prompt weights to odds in the attention (the `w` of the formula in :mod:`promptattn.core`)."""

import math
from dataclasses import dataclass
from typing import Literal

from promptattn.errors import ConfigError

__all__ = ["CEILING", "DEFAULT_STRENGTH", "PLACES", "Strength", "Weighting"]

Strength = float | Literal["exact"] | None
Place = Literal["auto", "text", "denoiser", "both"]

PLACES: tuple[Place, ...] = ("auto", "text", "denoiser", "both")

# `(red:1.2)` multiplies the odds by about 1.2 ** 6, which is 3. Measured on the shapes pipelines (docs/weights.md):
# plain odds of 1.2 are hardly seen, and odds of 1.2 ** 6 move the image as much as embedding scaling of 1.2, as users
# know it, does on the UNet.
DEFAULT_STRENGTH = 6.0

CEILING = 12.0
"""No weight multiplies odds by more than this, unless strength is "exact". Beyond it more weight acts backwards on the
shapes UNet: a noun's object shrinks and loses its outline, and images begin to break (docs/weights.md)."""

# Below this weight the text encoder takes part under where="auto". In the denoiser alone, weights from 0 to 0.5 all do
# the same on the shapes UNet: half of a colour stays, as other words have taken it up in the text encoder. Fading the
# word out there removes it. Above 1 the text encoder is left alone: more weight acts backwards there (docs/weights.md).
_FADE = 0.5

# float32 carries odds up to about 3e38; beyond this the word has all the attention there is anyway.
_LARGEST_ODDS = 1e30


@dataclass(frozen=True)
class Weighting:
    """How prompt weights act in attention.

    A weight w multiplies the word's odds by |w| ** strength, its rise bent so that it ends at 12 (`CEILING`):

        odds = exp(L tanh(strength ln|w| / L)) with L = ln 12 for |w| > 1,    |w| ** strength for |w| <= 1

    and the sign goes to the word's value. At w = 1 the two are one smooth curve, and more weight is always more odds.

    Attributes:
        where: `denoiser`: in cross-attention, or for the text keys of joint attention; `text`: among the keys of the
            text encoder; `both`; `auto` (the default): in the denoiser, and for weights between -0.5 and 0.5 in the
            text encoder too, where it fades the word out.
        strength: the exponent; None is :data:`DEFAULT_STRENGTH`. `"exact"` means plain odds w without a ceiling, and
            turns `auto` into `both`.

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
            raise ConfigError(
                f'strength={strength!r} must be "exact" or a positive number (the default is {DEFAULT_STRENGTH:g}).'
            )

    def in_denoiser(self, weight: float) -> float:
        """Odds of a word of this weight in the denoiser's attention; 1 leaves it alone."""
        return 1.0 if self.where == "text" else self._odds(weight)

    def in_text_encoder(self, weight: float) -> float:
        """Odds of a word of this weight among the keys of the text encoder; 1 leaves it alone."""
        if self.where == "denoiser":
            return 1.0
        if self.where == "auto" and self.strength != "exact":
            return min(abs(weight) / _FADE, 1.0)
        return self._odds(weight)

    def _odds(self, weight: float) -> float:
        if self.strength == "exact":
            return math.copysign(min(abs(weight), _LARGEST_ODDS), weight)
        if weight == 0:
            return 0.0
        rise = float(DEFAULT_STRENGTH if self.strength is None else self.strength) * math.log(abs(weight))
        if rise > 0:
            most = math.log(CEILING)
            rise = most * math.tanh(rise / most)
        return math.copysign(math.exp(rise), weight)
