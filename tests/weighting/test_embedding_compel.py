"""compel itself against ours: run where it is installed, and as it was recorded."""

import compel_cases as cases
import pytest
from safetensors.torch import load_file

from promptattn.prompt import parse, plan
from promptattn.run.text.encoding import encode
from promptattn.weighting import EmbeddingWeighting


def ours(pipe, prompt):
    length = cases.LENGTH if hasattr(pipe, "transformer") else None
    plans = [plan(pipe, prompt, max_sequence_length=length).encoders]
    return encode(pipe, plans, weighting=EmbeddingWeighting("compel"), max_sequence_length=length).embeds[0]


def is_same(found, expected, within):
    return found.shape == expected.shape and (found - expected).abs().max() <= within * expected.abs().max()


@pytest.fixture(scope="module")
def recorded():
    return {name: vectors.double() for name, vectors in load_file(cases.RECORDED).items()}


@pytest.mark.parametrize("name", cases.CASES)
def test_it_is_what_compel_gives(name):
    pytest.importorskip("compel", reason="the recorded vectors are compared in any case")
    kind, theirs, a1111 = cases.CASES[name]
    pipe = cases.pipeline(kind)
    assert is_same(ours(pipe, a1111), cases.said_by_compel(pipe, theirs)[0], 1e-10)


@pytest.mark.parametrize("name", cases.CASES)
def test_it_is_what_compel_gave(name, recorded):
    kind, _, a1111 = cases.CASES[name]
    pipe = cases.pipeline(kind)
    plain = recorded[f"{kind}, plain"]
    if not is_same(ours(pipe, cases.PLAIN[kind]), plain, 1e-6):
        pytest.fail("this is not the encoder that was recorded: record anew, see compel_cases.py")
    assert is_same(ours(pipe, a1111), recorded[name], 1e-6)
    assert not is_same(ours(pipe, parse(a1111).text), recorded[name], 1e-2)


def test_one_of_the_recorded_runs_of_words_crosses_a_window():
    (encoder,) = plan(cases.pipeline("sd"), cases.CASES["across"][2]).encoders
    assert [chunk.weights[row] for chunk, row in zip(encoder.chunks, (75, 1), strict=True)] == [0.5, 0.5]
