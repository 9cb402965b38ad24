"""What words attend to among each other, and places of the image among each other: the dense float64 attention."""

import dataclasses
import json
import re

import pytest
import torch
from families.dense import dense, seats
from families.facts import TABLE
from families.registry import FAMILIES
from families.test_served import (
    JOINT,
    LINEAR,
    SERVED,
    SPOKEN,
    UNWEIGHED,
    attend,
    denoiser_of,
    ours,
    stock,
    tokens_by,
)
from families.watching import text_encoders

from promptattn.errors import PromptAttnWarning
from promptattn.maps.capture import Capture
from promptattn.processors.layouts import layout_of

FACTS = json.loads(TABLE.read_text())
PATCHES = [(0.3, 0.7), (0.9, 0.1)]


pytestmark = pytest.mark.usefixtures("quiet")


def _of_the_prompt(calls, where):
    """Those calls of the denoiser that read the prompt."""
    return [call for number, call in enumerate(calls) if number % where.calls == where.call]


@pytest.mark.parametrize("name", JOINT)
def test_words_attend_to_each_other_as_in_the_dense_attention(name):
    pipe, family = FAMILIES[name].make(), FAMILIES[name]
    where = seats(pipe, FACTS[name])
    with dense(pipe, where) as calls:
        stock(pipe, family)
    with attend(pipe, family, capture=Capture(relations="text->text")) as run:
        ours(pipe, family, run)
    own = _of_the_prompt(calls, where)
    entries = [each for each in run.maps.text_attention if each.image is not None]
    for found, tokenizer in zip(entries, SERVED[name], strict=True):
        rows = {
            word: torch.tensor([[where.key(row) for row in rows] for rows in tokens_by(pipe, name, tokenizer, word)])
            for word in ("red", "cat", "mouse", "gray")
        }
        assert len(found.mass) == len(where.layers)
        for layer, mass in zip(where.layers, found.mass, strict=True):
            expected = torch.stack([call[layer][where.row] for call in own]).mean(0)
            for query, key in (("red", "cat"), ("cat", "red"), ("mouse", "mouse"), ("gray", "cat")):
                table = torch.from_numpy(mass).double()[_columns(run, found, query)][:, _columns(run, found, key)]
                # A token that stands there several times looks as all of it does on the mean.
                dense_table = expected[rows[query]].mean(1)[:, rows[key]].sum(-1)
                torch.testing.assert_close(table, dense_table, rtol=0, atol=2e-5)


def _columns(run, found, text):
    (word,) = (each for each in run.maps.words if each.text == text)
    return [at for at, column in enumerate(found.columns) if column.word == word.index]


@pytest.mark.parametrize(
    "name", [name for name in SERVED if name not in JOINT and (name in SPOKEN or name not in UNWEIGHED)]
)
def test_where_the_denoiser_has_no_words_among_words_the_text_encoders_have(name):
    pipe, family = FAMILIES[name].make(), FAMILIES[name]
    if name in SPOKEN:
        with pytest.warns(PromptAttnWarning, match="attention between words is not recorded"):
            attend(pipe, family, capture=Capture(relations="text->text"))
        return
    with attend(pipe, family, capture=Capture(relations="text->text")) as run:
        ours(pipe, family, run)
    assert {each.encoder for each in run.maps.text_attention} == set(text_encoders(pipe))
    for each in run.maps.text_attention:
        assert 0 < run.maps.relation("cat", "red", encoder=each.encoder) < 1


def _self_attention(pipe, name):
    denoiser = denoiser_of(pipe, name)
    return tuple(layer for layer, kind in layout_of(denoiser).layers(denoiser).items() if kind in ("image", "added"))


def _first_place(name, layer, otherwise):
    """The key row of the image's first place, by the table of facts if that knows it."""
    ((_, facts),) = FACTS[name]["denoisers"].items()
    seen = (group for groups in facts["image_places"].values() for group in groups)
    firsts = (
        group["places"].get("0,0", group["places"].get("first"))
        for group in seen
        if re.fullmatch(re.escape(group["layer"]).replace(r"\*", r"\d+"), layer)
    )
    return next((first for first in firsts if first is not None), otherwise)


WITH_SELF_ATTENTION = [name for name in SERVED if name not in (*JOINT, *LINEAR)] + ["sd3.5-dual", "lumina2", "z-image"]


@pytest.mark.parametrize("name", WITH_SELF_ATTENTION)
def test_places_attend_to_each_other_as_in_the_dense_attention(name):
    pipe, family = FAMILIES[name].make(), FAMILIES[name]
    layers = _self_attention(pipe, name)
    assert layers
    where = dataclasses.replace(seats(pipe, FACTS[name]), layers=layers, image_alone=True)
    with dense(pipe, where) as calls:
        stock(pipe, family)
    with attend(pipe, family, capture=Capture(patches=PATCHES)) as run:
        ours(pipe, family, run)
    own = _of_the_prompt(calls, where)
    maps = [each for each in run.maps.image(0).patches if each.name in layers]
    assert {(each.name, each.patch) for each in maps} == {(layer, patch) for layer in layers for patch in PATCHES}
    for each in maps:
        height, width = each.grid
        mass = torch.stack([call[each.name][where.row] for call in own]).mean(0)
        first = _first_place(name, each.name, otherwise=mass.shape[1] - mass.shape[0])
        expected = mass[:, first + int(each.patch[0] * height) * width + int(each.patch[1] * width)]
        torch.testing.assert_close(torch.from_numpy(each.mass[0]).double().flatten(), expected, rtol=0, atol=2e-5)
