"""Too much weight, said with what was measured; and options that a method does not have."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptattn.errors import ConfigError
from promptattn.prompt import Span, parse
from promptattn.weighting import (
    EMBEDDING_METHODS,
    LIMITS,
    METHODS,
    EmbeddingWeighting,
    Weighting,
    check_reach,
    chosen,
    overweight,
)


def said(method, text):
    return overweight(method, parse(text).spans)


@pytest.mark.parametrize(
    ("method", "text", "told"),
    [
        (chosen("a1111"), "a (red:2) cat", None),
        (chosen("a1111"), "a (red:3) cat", "'red' has weight 3: a1111 broke"),
        (chosen("a1111"), "a (red:-2.5) cat", "'red' has weight -2.5: a1111 broke"),
        (chosen("a1111"), "a (big red:2.1) (cat:9)", "'cat' has weight 9 (and 1 more): a1111 broke"),
        (chosen("a1111"), "a ( :9) cat", None),
        (Weighting("denoiser", "exact"), "a (red:12) cat", None),
        (Weighting("denoiser", "exact"), "a (red:20) cat", "'red' has weight 20: plain odds of 20"),
        (Weighting("denoiser", "exact"), "a (red:-20) cat", "'red' has weight -20: plain odds of 20"),
        (Weighting("auto", "exact"), "a (red:3) cat", "'red' has weight 3: odds of 2.6 in the text encoder"),
        (Weighting("text"), "a (red:1.5) cat", "'red' has weight 1.5: odds of 2.6 in the text encoder"),
        (Weighting("both"), "a (red:1.05) cat", None),
        (chosen("prompt-to-prompt"), "a (red:9) cat", None),
        (chosen("comfy++"), "a (red:-0.5) cat", None),
        (chosen("comfy++"), "a (red:-1) cat", "'red' has weight -1: comfy++ broke 22 % to 47 %"),
        (chosen("down_weight"), "a (red:2) cat", "'red' has weight 2: down_weight broke 22 % to 41 %"),
        (chosen("negpip"), "a (red:-3) cat", "'red' has weight -3: negpip broke"),
    ],
)
def test_what_is_too_much(method, text, told):
    found = said(method, text)
    assert found is None if told is None else found.startswith(told)


@given(weight=st.floats(allow_nan=False, allow_infinity=False), strength=st.none() | st.floats(0.1, 20))
def test_the_default_is_never_too_much(weight, strength):
    assert overweight(Weighting(strength=strength), [Span("cat", weight)]) is None


def test_every_limit_names_its_measurement():
    for limit in LIMITS:
        assert (Path(__file__).parents[2] / limit.source).is_file()
        assert limit.method in METHODS
        assert "shapes" in limit.found
        assert limit.advice
        beyond = -4.0 if limit.place == "negative weight" else next(w for w in (4.0, 20.0) if w > limit.largest)
        method = {
            "weight": chosen(limit.method),
            "negative weight": chosen(limit.method),
            "denoiser": Weighting("denoiser", "exact"),
            "text encoder": Weighting("text", "exact"),
        }[limit.place]
        message = overweight(method, [Span("cat", beyond)])
        assert message == f"'cat' has weight {beyond:g}: {limit.found} ({limit.source}); {limit.advice}."


def test_long_texts_are_shortened():
    assert said(chosen("a1111"), f"({'very ' * 30}big:9)").startswith("'very very very very very very very ve...' has")


REACH = [
    (dict(layers="mid_block"), "layers='mid_block': "),
    (dict(steps=(0.0, 0.4)), r"steps=\(0.0, 0.4\): "),
    (dict(rows="all"), "rows='all': "),
    (dict(layers=["up_blocks"], steps=[0]), r"layers=\['up_blocks'\], steps=\[0\]: "),
]


@pytest.mark.parametrize("name", EMBEDDING_METHODS)
@pytest.mark.parametrize(("options", "told"), REACH)
def test_embedding_methods_have_no_layers_steps_or_rows(name, options, told):
    message = f"{told}'{name.replace('+', '.')}' changes the text embeddings, .* leave it out, or use weighting='att"
    with pytest.raises(ConfigError, match=message):
        check_reach(EmbeddingWeighting(name), **options)
    check_reach(EmbeddingWeighting(name), layers=None, steps=None, rows="image")


@pytest.mark.parametrize("name", [name for name in METHODS if name not in EMBEDDING_METHODS])
@pytest.mark.parametrize(("options", "told"), REACH)
def test_methods_in_attention_have_them_all(name, options, told):
    check_reach(chosen(name), **options)


@pytest.mark.parametrize(("options", "told"), REACH)
def test_nor_has_the_text_encoder(options, told):
    with pytest.raises(ConfigError, match=f"{told}where='text' changes the text .* or use another where, which acts"):
        check_reach(Weighting("text"), **options)
    check_reach(Weighting("both"), **options)
