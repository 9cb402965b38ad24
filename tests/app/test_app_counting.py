"""Tokens and windows of a prompt as HTML."""

import re

import pytest

from promptattn.app.counting import counted
from promptattn.app.offered import OWN, samplers, suited, tokenizers


@pytest.fixture(scope="module")
def shapes():
    return tokenizers("shapes")


def text_of(html):
    return re.sub(r"<[^>]*>", "", html)


@pytest.mark.parametrize(
    ("prompt", "said", "windows"),
    [
        ("", "text_encoder0 of 22 tokens", 1),
        ("a red cat", "text_encoder3 of 22 tokens", 1),
        ("a (red:1.4) cat", "text_encoder3 of 22 tokens", 1),
        ("a cat " * 20, "text_encoder40 of 44 tokens in 2 windows", 2),
        ("a cat BREAK a star", "text_encoder4 of 44 tokens in 2 windows", 2),
        ("a [red:blue:0.5] cat", "text_encoder3 of 22 tokens", 1),
    ],
)
def test_tokens_and_windows_are_counted(shapes, prompt, said, windows):
    html = counted(shapes, prompt)
    assert text_of(html) == said
    assert html.count("pa-window") == windows


def test_a_bar_is_as_full_as_its_window(shapes):
    widths = re.findall(r"width:([\d.]+)%", counted(shapes, "a cat " * 20))
    assert [float(each) for each in widths] == [100.0, pytest.approx(100 * 18 / 22, abs=0.1)]


def test_what_is_cut_off_is_named(shapes):
    html = counted(tokenizers("shapes-dit"), "a red cat " * 20)
    assert ("cut off: " in html) == ("in 2 windows" not in html)


def test_words_are_escaped_and_a_reason_is_told(shapes):
    assert "<img" not in counted(shapes, "<img src=x onerror=alert(1)>" * 9)
    assert "pa-notes" in counted(shapes, "a cat", syntax="none such")


def test_what_suits_a_model_and_its_samplers():
    assert (suited("shapes").steps, suited("shapes").width) == (30, 64)
    assert suited("somebody/something").steps is None
    offered = samplers("shapes")
    assert offered[0] == OWN
    assert {"DDIMScheduler", "EulerDiscreteScheduler"} <= set(offered)
    assert "FlowMatchEulerDiscreteScheduler" in samplers("shapes-dit")
