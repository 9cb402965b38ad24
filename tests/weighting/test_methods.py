"""Choosing a method: every name, and what is refused."""

import pytest

from promptattn.errors import ConfigError
from promptattn.weighting import (
    EMBEDDING_METHODS,
    METHODS,
    NORMALISATIONS,
    EmbeddingWeighting,
    Weighting,
    chosen,
)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_goes_by_its_name(name):
    method = chosen(name)
    assert method.name == name
    assert isinstance(method, EmbeddingWeighting if name in EMBEDDING_METHODS else Weighting)
    assert method.in_denoiser(1.0) == method.in_text_encoder(1.0) == 1.0
    assert chosen(method) is method


@pytest.mark.parametrize("name", EMBEDDING_METHODS)
def test_embedding_methods_leave_attention_alone(name):
    method = chosen(name)
    for weight in (-3.0, 0.0, 0.3, 1.5, 100.0):
        assert method.in_denoiser(weight) == method.in_text_encoder(weight) == 1.0


def test_where_and_strength_are_those_of_attention():
    assert chosen("attention", "both", 2.0) == Weighting("both", 2.0)
    assert chosen("attention") == Weighting()
    assert chosen("negpip", "denoiser", "exact") == Weighting("denoiser", "exact", "negpip")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("atention",), "weighting='atention' is not a method that exists; did you mean 'attention'"),
        (("A1111x",), "did you mean 'a1111'"),
        (("Down Weight",), "did you mean 'down_weight'"),
        (("",), "the methods: attention, prompt-to-prompt, negpip, a1111, comfy, compel, comfy\\+\\+, down_weight"),
        ((None,), "weighting=None is neither the name of a method"),
        ((3,), "weighting=3 is neither"),
        ((Weighting,), "is neither the name"),
        (("comfy", "text"), "where='text': 'comfy' acts on the text embeddings.*weighting='attention'"),
        (("compel", "auto", 2.0), "strength=2.0: 'compel'"),
        (("a1111", "both", "exact"), "where='both', strength='exact'"),
        ((Weighting(), "text"), "where='text' beside Weighting.*put it into the Weighting itself"),
        ((EmbeddingWeighting("comfy"), "auto", 3.0), "put it into the EmbeddingWeighting itself"),
        (("attention", "unet"), "where='unet'"),
    ],
)
def test_what_cannot_be_chosen_is_said(arguments, message):
    with pytest.raises(ConfigError, match=message):
        chosen(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(method="attention"), "method='attention' is no embedding method; choose from a1111, comfy"),
        (dict(method="comfy", normalisation="sum"), "normalisation='sum' is none of none, mean, length, length\\+mean"),
        (dict(method="comfy", restore_mean=False), "restore_mean=False: 'comfy' restores no mean, only 'a1111' does"),
        (dict(method="compel", pooled=True), "pooled=True: 'compel' leaves the pooled.*comfy\\+\\+ and down_weight"),
        (dict(method="a1111", pooled=True), "pooled=True: 'a1111'"),
    ],
)
def test_options_that_a_method_does_not_have_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        EmbeddingWeighting(**options)


def test_every_normalisation_goes_with_every_method():
    assert len({EmbeddingWeighting(name, kind) for name in EMBEDDING_METHODS for kind in NORMALISATIONS}) == 20
