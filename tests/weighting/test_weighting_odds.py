"""From weights to odds, in each place where they can act."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptattn.errors import ConfigError
from promptattn.weighting import CEILING, DEFAULT_STRENGTH, PLACES, Weighting

WEIGHTS = st.floats(-1e6, 1e6)
STRENGTHS = st.one_of(st.none(), st.just("exact"), st.floats(0.1, 20))


@pytest.mark.parametrize(
    ("weight", "odds"),
    [
        (0, 0),
        (0.5, 0.5**6),
        (0.8, 0.8**6),
        (1, 1),
        (1.2, 2.590),  # tanh(6 ln 1.2 / ln 5) = 0.5913, and 5 ** 0.5913
        (1.5, 4.306),
        (2, 4.910),
        (3, 4.996),
        (-1, -1),
        (-0.5, -(0.5**6)),
        (-2, -4.910),
    ],
)
def test_the_default_by_hand(weight, odds):
    assert Weighting().in_denoiser(weight) == pytest.approx(odds, rel=1e-3)


@pytest.mark.parametrize("where", PLACES)
@given(strength=STRENGTHS)
def test_weight_1_leaves_everything_alone(where, strength):
    way = Weighting(where, strength)
    assert way.in_denoiser(1.0) == way.in_text_encoder(1.0) == 1.0


@given(one=WEIGHTS, two=WEIGHTS, strength=STRENGTHS)
def test_more_weight_never_means_smaller_odds(one, two, strength):
    less, more = sorted((abs(one), abs(two)))
    way = Weighting("both", strength)
    assert way.in_denoiser(less) <= way.in_denoiser(more)


@given(weight=WEIGHTS, strength=STRENGTHS)
def test_the_sign_is_the_weights(weight, strength):
    odds = Weighting("denoiser", strength).in_denoiser(weight)
    assert odds == 0 or math.copysign(1, odds) == math.copysign(1, weight)
    assert Weighting("denoiser", strength).in_denoiser(-weight) == -odds


@given(weight=WEIGHTS, strength=st.one_of(st.none(), st.floats(0.1, 20)))
def test_no_exponent_goes_beyond_the_ceiling(weight, strength):
    assert abs(Weighting("denoiser", strength).in_denoiser(weight)) <= CEILING * (1 + 1e-12)


@pytest.mark.parametrize("strength", [0.5, None, 12.0])
def test_at_1_the_slope_is_the_exponent_on_either_side(strength):
    way, exponent = Weighting("denoiser", strength), strength or DEFAULT_STRENGTH
    for step in (1e-4, -1e-4):
        assert math.log(way.in_denoiser(1 + step)) / math.log1p(step) == pytest.approx(exponent, rel=1e-3)


def test_exact_is_the_weight_itself():
    way = Weighting(strength="exact")
    for weight in (0.0, 0.3, 1.0, 5.0, 300.0, -2.0):
        assert way.in_denoiser(weight) == way.in_text_encoder(weight) == weight
    assert way.in_denoiser(1e300) == 1e30


@pytest.mark.parametrize(
    ("where", "denoiser", "text"),
    [("denoiser", 4.0, 1.0), ("text", 1.0, 4.0), ("both", 4.0, 4.0), ("auto", 4.0, 4.0)],
)
def test_places(where, denoiser, text):
    way = Weighting(where, "exact")
    assert (way.in_denoiser(4.0), way.in_text_encoder(4.0)) == (denoiser, text)


@pytest.mark.parametrize(
    ("weight", "odds"), [(0, 0), (0.05, 0.1), (0.25, 0.5), (0.5, 1), (0.8, 1), (1.5, 1), (-1, 0), (-0.25, 0)]
)
def test_the_default_fades_words_out_in_the_text_encoder(weight, odds):
    assert Weighting().in_text_encoder(weight) == pytest.approx(odds)


@pytest.mark.parametrize("strength", ["loud", 0, -1, math.inf, math.nan])
def test_strengths_that_are_none(strength):
    with pytest.raises(ConfigError, match='"exact" or a positive number'):
        Weighting(strength=strength)


def test_places_that_are_none():
    with pytest.raises(ConfigError, match=r"'unet' is no place.*auto, text, denoiser, both"):
        Weighting("unet")


@given(one=WEIGHTS, two=WEIGHTS)
def test_by_default_less_weight_never_means_more_in_the_text_encoder(one, two):
    less, more = sorted((one, two))
    assert 0 <= Weighting().in_text_encoder(less) <= Weighting().in_text_encoder(more) <= 1


RULES = pytest.mark.parametrize(("rule", "in_core"), [("prompt-to-prompt", "values"), ("negpip", "scaling")])


@RULES
@pytest.mark.parametrize("where", ["auto", "denoiser"])
@pytest.mark.parametrize("strength", [None, "exact"])
@given(weight=WEIGHTS)
def test_the_other_rules_take_weights_as_they_stand(rule, in_core, where, strength, weight):
    way = Weighting(where, strength, rule)
    assert way.in_denoiser(weight) == weight
    assert way.in_text_encoder(weight) == 1.0
    assert (way.name, way.key_rule) == (rule, in_core)


@RULES
def test_the_other_rules_stay_in_float32(rule, in_core):
    assert Weighting(rule=rule).in_denoiser(1e300) == 1e30
    assert Weighting(rule=rule).in_denoiser(-1e300) == -1e30


def test_names():
    assert (Weighting().name, Weighting().key_rule) == ("attention", "odds")
    assert Weighting(rule="odds") == Weighting()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(rule="p2p"), "rule='p2p' is no rule by which weights act; choose from odds, prompt-to-prompt, negpip"),
        (dict(rule="negpip", where="text"), "where='text': negpip acts in the denoiser only"),
        (dict(rule="prompt-to-prompt", where="both"), "where='both': prompt-to-prompt acts in the denoiser only"),
        (dict(rule="negpip", strength=2.0), "strength=2.0: negpip takes every weight as it stands"),
        (dict(rule="negpip", where="here"), "where='here' is no place"),
    ],
)
def test_what_a_rule_refuses(options, message):
    with pytest.raises(ConfigError, match=message):
        Weighting(**options)
