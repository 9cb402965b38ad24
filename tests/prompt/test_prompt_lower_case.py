"""Prompts that a pipeline lowers before they are read: its ids, and the places of the text as it was written."""

import pytest
import tiny_pipelines as tiny
from hypothesis import given
from hypothesis import strategies as st

from promptattn.prompt import parse, plan_tokens
from promptattn.prompt.lower_case import encode_lowered


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.t5_tokenizer()


def planned(text, tokenizer):
    return plan_tokens(parse(text), tokenizer, name="text_encoder", can_chunk=False, lower_case=True)


def test_ids_are_those_of_the_lowered_text_and_words_those_of_the_prompt(tokenizer):
    plan = planned("  A (RED:1.5) Cat ", tokenizer)
    stock = tokenizer("a red cat", padding="max_length", truncation=True).input_ids
    assert list(plan.chunks[0].ids) == stock
    assert [(word.text, word.weight) for word in plan.words] == [("A", 1.0), ("RED", 1.5), ("Cat", 1.0)]
    assert all(word.tokens for word in plan.words)
    assert {token.weight for token in plan.tokens if plan.words[token.word].text == "RED"} == {1.5}


def test_a_letter_that_becomes_two(tokenizer):
    assert len("İ".lower()) == 2
    plan = planned("İİ (Red:2) cat", tokenizer)
    red = [token for token in plan.tokens if token.word is not None and plan.words[token.word].text == "Red"]
    assert red
    assert {token.weight for token in red} == {2.0}
    assert all(plan.prompt.text[token.start : token.end] in "Red" for token in red)


@given(st.text(alphabet="aAßẞİıΣσς cé\u0301 \t,🐈", max_size=12))
def test_every_token_stands_in_the_text(text):
    tokenizer = tiny.t5_tokenizer()
    raw, _ = encode_lowered(tokenizer, text, "text_encoder")
    stock = tokenizer(text.lower().strip(), add_special_tokens=False).input_ids
    assert [token.id for token in raw] == stock
    assert all(0 <= token.start <= token.end <= len(text) for token in raw)
    assert [token.start for token in raw] == sorted(token.start for token in raw)
