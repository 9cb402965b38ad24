"""From prompt weights to what they are in attention: the `w` of the rules in :class:`promptattn.core.KeyWeights`."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from promptattn.errors import ConfigError

__all__ = ["CEILING", "DEFAULT_STRENGTH", "PLACES", "RULES", "KeyRule", "Strength", "Weighting"]

Strength = float | Literal["exact"] | None
Place = Literal["auto", "text", "denoiser", "both"]
Rule = Literal["odds", "prompt-to-prompt", "negpip"]
KeyRule = Literal["odds", "values", "scaling"]

RULES: tuple[Rule, ...] = get_args(Rule)
"""The rules by which weights act in attention; see :class:`Weighting`."""

# What each rule is called in the core, which names them for what they do.
_IN_CORE: dict[Rule, KeyRule] = {"odds": "odds", "prompt-to-prompt": "values", "negpip": "scaling"}

PLACES: tuple[Place, ...] = ("auto", "text", "denoiser", "both")

# `(red:1.2)` multiplies the odds by about 1.2 ** 6, which is 3. Measured on the shapes pipelines (docs/weights.md):
# plain odds of 1.2 are hardly seen, and odds of 1.2 ** 6 move the image as much as embedding scaling of 1.2, as users
# know it, does on the UNet.
DEFAULT_STRENGTH = 6.0

CEILING = 5.0
"""No weight multiplies odds by more than this, unless strength is "exact". Beyond it more weight acts backwards on the
shapes pipelines: more and more objects lose their outline, and from 20 on the first images break (docs/weights.md)."""

# Below this weight the text encoder takes part under where="auto". In the denoiser alone, weights from 0 to 0.5 all do
# the same on the shapes UNet: half of a colour stays, as other words have taken it up in the text encoder. Fading the
# word out there removes it, and below 0 it stays out, or -1 would remove less than 0 does. Above 1 the text encoder is
# left alone: more weight acts backwards there (docs/weights.md).
_FADE = 0.5

# float32 carries numbers up to about 3e38; odds beyond this give the word all the attention there is anyway.
_LARGEST_ODDS = 1e30


@dataclass(frozen=True)
class Weighting:
    """How prompt weights act in attention.

    By the rule `odds` a weight w multiplies the word's odds by |w| ** strength, its rise bent so that it ends at 5
    (`CEILING`):

        odds = exp(L tanh(strength ln|w| / L)) with L = ln 5 for |w| > 1,    |w| ** strength for |w| <= 1

    and the sign goes to the word's value. At w = 1 the two are one smooth curve, and more weight is always more odds.

    Two more rules reproduce what is known from elsewhere, with w as it stands, in the denoiser:

    `prompt-to-prompt`: the word's column of the attention map is multiplied by w after the softmax, and nothing is
        normalised again (Hertz et al. 2022, arXiv:2208.01626, "attention re-weighting", whose c is w). The paper
        weights every cross-attention of the prompt's rows, where its range for w is -2 to 2.
    `negpip`: the word's key is |w| times as long and its value w times (NegPip: github.com/hako-mikan/sd-webui-negpip).
        A linear key projection without bias makes that of an embedding of |w| times the length, whose value has its
        sign flipped for a negative w. There the words of negative weight stand in a window of 77 tokens of their own,
        encoded apart, and those of positive weight are scaled with A1111's restored mean; here every word stays where
        it is, encoded in its prompt, as in CLIPNegPip (github.com/pamparamm/ComfyUI-ppm), which moves the embedding
        away from that of an empty prompt in place of the zero vector. It serves cross-attention (Stable Diffusion 1, 2,
        XL): where keys are normalised, as in Stable Diffusion 3 and Flux, their length says nothing.

    The pooled embedding that some models take beside the text comes from the same pass of the encoder: weighted as far
    as `where` has weights act there (`text`, `both`, and `auto` below 0.5), unweighted with `denoiser` and the two
    rules above.

    Attributes:
        where: `denoiser`: in cross-attention, or for the text keys of joint attention; `text`: among the keys of the
            text encoder; `both`; `auto` (the default): in the denoiser, and for weights below 0.5 in the text encoder
            too, where it fades the word out; from 0 down it is gone there.
        strength: the exponent; None is :data:`DEFAULT_STRENGTH`. `"exact"` means plain odds w without a ceiling, and
            turns `auto` into `both`.
        rule: `odds`, `prompt-to-prompt` or `negpip`. The latter two act in the `denoiser` only, which is their `auto`,
            and take w as it stands: a strength of None or `"exact"`.

    Raises:
        ConfigError: for a place or a rule that does not exist, a strength that is not a positive finite number, or a
            place or strength that the rule does not have.
    """

    where: Place = "auto"
    strength: Strength = None
    rule: Rule = "odds"

    def __post_init__(self) -> None:
        if self.where not in PLACES:
            raise ConfigError(f"where={self.where!r} is no place for weights to act; choose from {', '.join(PLACES)}.")
        if self.rule not in RULES:
            raise ConfigError(f"rule={self.rule!r} is no rule by which weights act; choose from {', '.join(RULES)}.")
        strength = self.strength
        if self.rule != "odds":
            self._check_plain(strength)
        if strength is None or strength == "exact":
            return
        if isinstance(strength, str) or not (math.isfinite(strength) and strength > 0):
            raise ConfigError(
                f'strength={strength!r} must be "exact" or a positive number (the default is {DEFAULT_STRENGTH:g}).'
            )

    @property
    def name(self) -> str:
        """The method's name: `attention` for odds, else that of the rule."""
        return "attention" if self.rule == "odds" else self.rule

    @property
    def key_rule(self) -> KeyRule:
        """What the rule is called in :class:`promptattn.core.KeyWeights`."""
        return _IN_CORE[self.rule]

    def in_denoiser(self, weight: float) -> float:
        """What a word of this weight is weighted by in the denoiser's attention (its odds); 1 leaves it alone."""
        if self.rule != "odds":
            return _bounded(weight)
        return 1.0 if self.where == "text" else self._odds(weight)

    def in_text_encoder(self, weight: float) -> float:
        """Odds of a word of this weight among the keys of the text encoder; 1 leaves it alone."""
        if self.where == "denoiser" or self.rule != "odds":
            return 1.0
        if self.where == "auto" and self.strength != "exact":
            return min(max(weight / _FADE, 0.0), 1.0)
        return self._odds(weight)

    def _check_plain(self, strength: Strength) -> None:
        if self.where not in ("auto", "denoiser"):
            raise ConfigError(
                f"where={self.where!r}: {self.rule} acts in the denoiser only; leave where out, or use"
                ' weighting="attention".'
            )
        if strength not in (None, "exact"):
            raise ConfigError(
                f"strength={strength!r}: {self.rule} takes every weight as it stands; leave strength out, or use"
                ' weighting="attention".'
            )

    def _odds(self, weight: float) -> float:
        if self.strength == "exact":
            return _bounded(weight)
        if weight == 0:
            return 0.0
        rise = float(DEFAULT_STRENGTH if self.strength is None else self.strength) * math.log(abs(weight))
        if rise > 0:
            most = math.log(CEILING)
            rise = most * math.tanh(rise / most)
        return math.copysign(math.exp(rise), weight)


def _bounded(weight: float) -> float:
    """The weight itself, as far as float32 carries it."""
    return math.copysign(min(abs(weight), _LARGEST_ODDS), weight)
