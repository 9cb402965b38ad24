"""What may be asked for: each number that cannot be is told by the name of its control."""

import re
from dataclasses import replace

import pytest

from promptattn.app.bounds import MOST_TEXT, bounded, settled
from promptattn.app.runs import Wish
from promptattn.errors import ConfigError

WISH = Wish("shapes", seed=7, steps=30, guidance=4.0, height=64, width=64)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1.5}, "Seed is a whole number from 0 to 9007199254740991, and not 1.5."),
        ({"seed": -2}, "Seed is a whole number from 0 to 9007199254740991, and not -2."),
        ({"seed": 2**53}, "Seed is a whole number"),
        ({"steps": 0}, "Steps is a whole number from 1 to 1000, and not 0."),
        ({"steps": 1001}, "Steps is a whole number from 1 to 1000, and not 1001."),
        ({"steps": 2.5}, "and not 2.5."),
        ({"guidance": -1}, "Guidance is a number from 0 to 100, and not -1."),
        ({"guidance": float("nan")}, "Guidance is a number from 0 to 100, and not nan."),
        ({"width": 264}, "Width is a whole number from 1 to 256, and not 264."),
        ({"height": 100_000}, "Height is a whole number from 1 to 256, and not 100000."),
        ({"model": "sdxl", "height": 4104}, "from 1 to 4096, and not 4104."),
        ({"model": "some/thing", "height": 2056}, "from 1 to 2048, and not 2056."),
        ({"strength": "strong"}, 'Exponent on weights is a number above 0, or "exact", and not strong.'),
        ({"strength": 0.0}, "and not 0.0."),
        ({"strength": float("inf")}, "and not inf."),
        ({"negative": "a" * (MOST_TEXT + 1)}, "The negative prompt has 10001 characters; 10000 are read at most."),
    ],
)
def test_what_cannot_be_is_told_by_the_name_of_its_control(changed, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        settled(replace(WISH, **changed))


def test_what_can_be_stays_as_it_is():
    assert settled(WISH) == WISH
    assert settled(replace(WISH, steps=30.0)).steps == 30
    usual = Wish("shapes", seed=0, strength="exact")
    assert settled(usual) == usual


@pytest.mark.parametrize("seed", [None, -1])
def test_a_seed_that_is_none_in_particular_is_drawn(seed):
    drawn = {settled(replace(WISH, seed=seed)).seed for _ in range(4)}
    assert len(drawn) > 1
    assert all(0 <= each < 2**31 for each in drawn)


def test_an_emptied_box_is_what_suits():
    pytest.importorskip("gradio", reason="gradio is not installed")
    from promptattn.app.controls import Controls, wish_of

    values = dict.fromkeys(Controls.__dataclass_fields__)
    wish = wish_of([*({**values, "model": "shapes", "strength": ""}).values()])
    assert (wish.seed, wish.steps, wish.width, wish.negative, wish.strength) == (None, None, None, "", None)


def test_a_text_has_a_bound():
    assert bounded(None) == ""
    with pytest.raises(ConfigError, match="The prompt has 10001 characters"):
        bounded("a" * (MOST_TEXT + 1))
