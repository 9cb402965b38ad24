"""Prompts made in code: one canonical form, and a rendering that reads back."""

from fractions import Fraction
from math import copysign

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promptattn.errors import PromptSyntaxError
from promptattn.prompt import Break, Prompt, Span, parse
from promptattn.prompt.numbers import plain_decimal

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(
    st.sampled_from([*"()[]:\\ <>", "BREAK", "1.2", "<lora:x:1>", "<LORA:", "gato"])
).map("".join)
WEIGHTS = st.sampled_from([1.0, 1.1, 0.0, -1.0]) | st.floats(allow_nan=False, allow_infinity=False)
NODES = st.lists(st.builds(Span, TEXTS, WEIGHTS) | st.just(Break()))


@settings(deadline=None)
@given(NODES)
@example([Span("<lora:a"), Span("b>", 1.2)])
@example([Span("a:1.2"), Span(")", 1.1)])
@example([Span("a "), Break(), Span("\t b", 2.0)])
@example([Span("a", 5e-324), Span("b", 1.7976931348623157e308)])
def test_rendering_reads_back(nodes):
    prompt = Prompt(tuple(nodes))
    assert parse(prompt.render()) == prompt


@settings(deadline=None)
@given(NODES)
def test_canonical_form_is_stable(nodes):
    prompt = Prompt(tuple(nodes))
    assert Prompt(prompt.nodes) == prompt
    for left, right in zip(prompt.nodes, prompt.nodes[1:], strict=False):
        assert isinstance(left, Break) or isinstance(right, Break) or left.weight != right.weight


def test_zero_has_no_sign():
    assert copysign(1.0, Span("a", -0.0).weight) == copysign(1.0, parse("((a:0):-1)").spans[0].weight) == 1.0


def test_neighbours_of_one_weight_are_one_span():
    assert Prompt((Span("a "), Span(""), Span("b"), Span("c", 2))).spans == (Span("a b"), Span("c", 2.0))


def test_equality_ignores_positions_and_findings():
    assert parse("((a))") == parse("(a:1.21)") == Prompt((Span("a", 1.21),))
    assert hash(parse("((a))")) == hash(Prompt((Span("a", 1.21),)))
    assert parse("(a:1.2)") != parse("(a:1.3)")
    assert parse("a b") != parse("a BREAK b")


def test_breaks_are_positions_in_the_clean_text():
    prompt = parse("BREAK (a BREAK BREAK b) BREAK")
    assert prompt.text == "a b"
    assert prompt.breaks == (0, 2, 2, 3)


def test_span_positions_are_those_of_the_users_text():
    text = "a (\\(red\\) cat:1.4), <lora:x:1> dog"
    first, second, third = parse(text).spans
    assert [text[span.start : span.end] for span in (first, second, third)] == [
        "a ",
        "(red\\) cat",
        ", <lora:x:1> dog",
    ]
    assert parse(text).locate(*parse(text).ranges[2]) == (third.start, third.end)


def test_a_prompt_made_in_code_has_positions_in_its_own_text():
    prompt = Prompt((Span("a "), Span("cat", 1.2)))
    assert prompt.spans[1].start == -1
    assert prompt.locate(2, 5) == (2, 5)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -float("inf"), 10**400, "1.2", None, True, 1j])
def test_weights_from_code_must_be_finite_numbers(weight):
    with pytest.raises(PromptSyntaxError, match="the weight of 'cat' must be a finite number"):
        Span("cat", weight)


@pytest.mark.parametrize("weight", [2, Fraction(3, 2), np.float32(1.5), np.float64(1.5), np.int64(3)])
def test_any_real_number_is_a_weight(weight):
    assert Span("cat", weight).weight == float(weight)
    assert type(Span("cat", weight).weight) is float


def test_text_from_code_must_be_encodable():
    with pytest.raises(PromptSyntaxError, match="half a surrogate pair"):
        Span("\ud83d")


@pytest.mark.parametrize(
    ("weight", "written"),
    [(1.2, "1.2"), (2, "2"), (100, "100"), (0, "0"), (-0.5, "-0.5"), (1e-7, "0.0000001"), (1e22, "1" + "0" * 22)],
)
def test_weights_are_plain_decimals(weight, written):
    assert plain_decimal(weight) == written


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_plain_decimals_read_back(weight):
    assert float(plain_decimal(weight)) == weight
    assert "e" not in plain_decimal(weight).lower()
