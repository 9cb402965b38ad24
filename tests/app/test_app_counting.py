"""Tokens and windows of a prompt as HTML."""

import re

import pytest

from promptattn.app.counting import counted
from promptattn.app.offered import suited, tokenizers
from promptattn.app.readings import readings
from promptattn.app.samplers import OWN, sampler_of, samplers, scheduler_of
from promptattn.prompt import parse


def count(model, text, syntax="a1111", steps=20):
    return counted(readings(tokenizers(model), parse(text, syntax=syntax), steps))


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
def test_tokens_and_windows_are_counted(prompt, said, windows):
    html = count("shapes", prompt)
    assert text_of(html) == said
    assert html.count('class="pa-window"') == windows


def test_a_bar_is_as_full_as_its_window():
    widths = re.findall(r"width:([\d.]+)%", count("shapes", "a cat " * 20))
    assert [float(each) for each in widths] == [100.0, pytest.approx(100 * 18 / 22, abs=0.1)]


def test_more_windows_than_can_be_drawn_are_counted_only():
    html = count("shapes", "a BREAK " * 12 + "a")
    assert text_of(html) == "text_encoder13 of 286 tokens in 13 windows"
    assert "pa-window" not in html


def test_what_is_cut_off_is_named_up_to_four_words():
    assert "cut off" not in count("shapes", "a red cat " * 20)
    said = [line for line in count("shapes-dit", "a cat " * 11 + "a red, gray star").split("</div>") if line]
    assert [text_of(each) for each in said] == [
        f"{name}22 of 22 tokens cut off: a, red, gray, star" for name in ("text_encoder", "text_encoder_2")
    ]
    assert "cut off: a, cat, a, cat and 14 more" in count("shapes-dit", "a cat " * 20)


def test_each_prompt_of_a_combination_has_windows_of_its_own():
    assert text_of(count("shapes", "a cat AND " + "a star " * 10)) == "text_encoder20 of 22 tokens"
    blend = '("a cat", "a red star").blend(1, 1)'
    assert text_of(count("shapes", blend, "compel")) == "text_encoder3 of 22 tokens"


def test_words_are_escaped():
    assert "<img" not in count("shapes-dit", "<img src=x onerror=alert(1)>" * 9)


def test_what_suits_a_model_and_its_samplers():
    assert (suited("shapes").steps, suited("shapes").width) == (30, 64)
    assert suited("somebody/something").steps is None
    offered = samplers("shapes")
    assert offered[0] == OWN
    assert {"DDIM", "Euler", "Euler a", "DPM++ 2M", "DPM++ 2M Karras", "DDPMScheduler"} <= set(offered)
    assert not {"Euler a Karras", "DPM++ 2S a", "EulerDiscreteScheduler"} & set(offered)
    assert samplers("shapes-dit") == (OWN, "FlowMatchEulerDiscreteScheduler")


@pytest.mark.parametrize("model", ["shapes", "shapes-dit"])
def test_every_sampler_that_is_offered_is_found_by_its_scheduler(model):
    for name in samplers(model)[1:]:
        scheduler, options = scheduler_of(name)
        assert sampler_of({"name": scheduler, "options": options}) == name
