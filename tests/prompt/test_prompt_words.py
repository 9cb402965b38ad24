"""What a word is, in several scripts, and how words and phrases are found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptattn.errors import CaptureError
from promptattn.prompt import Word, find
from promptattn.prompt.words import fold, split_words


def entries(text: str) -> list[str]:
    return [text[start:end] for start, end, _ in split_words(text)]


def words_of(text: str) -> list[Word]:
    return [
        Word(index, text[start:end], start, end, 0, (), 1.0, is_punctuation)
        for index, (start, end, is_punctuation) in enumerate(split_words(text))
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("un gato rojo persigue a un ratón gris", ["un", "gato", "rojo", "persigue", "a", "un", "ratón", "gris"]),
        ("¿Dónde está el gato?", ["¿", "Dónde", "está", "el", "gato", "?"]),
        (
            "don't, x-ray; l’été 'quoted' -dash-",
            ["don't", ",", "x-ray", ";", "l’été", "'", "quoted", "'", "-", "dash", "-"],
        ),
        ("col·lecció 1.5 v1.5. 8k", ["col·lecció", "1.5", "v1.5", ".", "8k"]),
        ("long_hair (:", ["long", "_", "hair", "(:"]),
        ("cafe\u0301 नमस्ते", ["cafe\u0301", "नमस्ते"]),
        ("שלום \u202bعالم\u202c!", ["שלום", "عالم", "!"]),
        ("日本のカメラmark", ["日", "本", "の", "カ", "メ", "ラ", "mark"]),
        ("😀😀 👍🏽 👩‍🚀 🇪🇸🇫🇷 ❤️ 1️⃣", ["😀", "😀", "👍🏽", "👩‍🚀", "🇪🇸", "🇫🇷", "❤️", "1️⃣"]),
        ("a#️⃣b", ["a", "#️⃣", "b"]),
        ("  \t\n\u200b", []),
        ("", []),
    ],
)
def test_splits(text, expected):
    assert entries(text) == expected


@settings(deadline=None)
@given(st.text())
def test_words_are_in_order_and_hold_all_that_is_visible(text):
    end = 0
    left_over = ""
    for start, stop, _ in split_words(text):
        assert end <= start < stop <= len(text)
        left_over += text[end:start]
        end = stop
    assert not any(c.isalnum() for c in left_over + text[end:])


@settings(deadline=None)
@given(st.text())
def test_folding_is_stable(text):
    assert fold(fold(text)) == fold(text)


def test_finds_words_phrases_and_occurrences():
    words = words_of("A red cat, a red Cat and un ratón gris")
    assert [word.start for word in find(words, "CAT")] == [6]
    assert [word.start for word in find(words, "cat", 1)] == [17]
    assert [word.text for word in find(words, "red cat", 1)] == ["red", "Cat"]
    assert [word.text for word in find(words, "cat, a")] == ["cat", ",", "a"]
    assert [word.text for word in find(words, "rato\u0301n  GRIS")] == ["ratón", "gris"]


@pytest.mark.parametrize(
    ("phrase", "occurrence", "message"),
    [
        ("gatto", 0, "there is no 'gatto' in this prompt (did you mean 'gato'?); its words are: un, gato, rojo"),
        ("perro", 0, "there is no 'perro' in this prompt; its words are: un, gato, rojo"),
        ("rojo gato", 0, "there is no 'rojo gato' in this prompt; its words are: un, gato, rojo"),
        ("un", 2, "'un' stands 2 times in this prompt; occurrences count from 0, so 2 is none of them"),
        ("gato", -1, "'gato' stands once in this prompt; occurrences count from 0, so -1 is none of them"),
        (" ", 0, "' ' holds no word to look for; its words are: un, gato, rojo"),
    ],
)
def test_a_miss_lists_the_words(phrase, occurrence, message):
    with pytest.raises(CaptureError) as caught:
        find(words_of("un gato rojo, un gato".removesuffix(" gato")), phrase, occurrence)
    assert str(caught.value) == message


def test_a_miss_in_an_empty_prompt_and_in_a_long_one():
    with pytest.raises(CaptureError, match="there is no 'cat' in this prompt; the prompt has no words"):
        find([], "cat")
    with pytest.raises(CaptureError, match=r"w58, w59 and 40 more$"):
        find(words_of(" ".join(f"w{n}" for n in range(100))), "perro")
