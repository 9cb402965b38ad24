"""Which words an axis is about, and where each cell of a grid stands."""

import pytest

from promptattn.sweeps.layout import panels
from promptattn.sweeps.points import design
from promptattn.sweeps.swept import subject_of


@pytest.mark.parametrize(
    ("template", "kind", "words"),
    [
        ("a (red:{0.5..1.5:0.5}) cat", "weight", [(("red", 0),)] * 3),
        ("a (red cat:{1,2}) and a red cat", "weight", [(("red", 0), ("cat", 0))] * 2),
        ("a red cat and a (red:{1,2}) cat", "weight", [(("red", 1),)] * 2),
        ("a {red,azul marino,} cat", "text", [(("red", 0),), (("azul", 0), ("marino", 0)), ()]),
        ("a {(red:1.5),red} cat", "text", [(("red", 0),)] * 2),
        ("a [cat:dog:{1,2}]", "other", [()] * 2),
        ("[(cat:{1,2}):dog:3]", "weight", [(("cat", 0),)] * 2),
        ("[{cat,star}:dog:3]", "text", [(("cat", 0),), (("star", 0),)]),
        ("a cat AND a (dog:{1,2})", "weight", [(("dog", 0),)] * 2),
    ],
)
def test_words(template, kind, words):
    made = design(template, None, images=1, limit=64)
    subject = subject_of(made, 0, "a1111", 8)
    assert subject.kind == kind
    assert list(subject.words) == words


@pytest.mark.parametrize(
    ("syntax", "template"),
    [("comfy", "a (red:{0.5,1.5}) cat"), ("compel", "a (red){0.5,1.5} cat"), ("compel", "a red{-,++} cat")],
)
def test_any_syntax_can_be_swept(syntax, template):
    made = design(template, None, images=1, limit=64)
    subject = subject_of(made, 0, syntax, 8)
    assert (subject.kind, subject.label) == ("weight", "red")


def test_what_is_blended_has_words_too():
    made = design('("a (cat){1,2}", "a dog").blend(1, 1)', None, images=1, limit=64)
    assert subject_of(made, 0, "compel", 8).words == ((("cat", 0),),) * 2


def test_two_axes_have_a_subject_each():
    made = design("a ({red,blue}:{1,2}) cat", None, images=1, limit=64)
    text, weight = (subject_of(made, axis, "a1111", 8) for axis in range(2))
    assert (text.kind, text.label) == ("text", "red, blue")
    assert list(text.words) == [(("red", 0),), (("red", 0),), (("blue", 0),), (("blue", 0),)]
    assert weight.kind == "weight"


def test_a_negative_prompt_has_its_own_words():
    made = design("a cat", "a ({dog,star}:1.2)", images=1, limit=64)
    assert subject_of(made, 0, "a1111", 8).label == "dog, star"


def test_one_axis_wraps_into_rows_of_about_equal_length():
    first, second = panels([[str(value) for value in range(9)]], [7])
    assert [label.text for label in first.columns] == ["0", "1", "2", "3", "4"]
    assert first.cells == ((0, 1, 2, 3, 4),)
    assert second.cells == ((5, 6, 7, 8),)
    assert [row.text for row in first.rows] == [""]


def test_one_axis_has_its_seeds_below_each_other():
    (panel,) = panels([["a", "b"]], [7, 8])
    assert panel.cells == ((0, 1), (2, 3))
    assert [row.text for row in panel.rows] == ["seed 7", "seed 8"]


def test_two_axes_are_one_block_for_each_seed():
    first, second = panels([["a", "b"], ["1", "2", "3"]], [7, 8])
    assert (first.title, second.title) == ("seed 7", "seed 8")
    assert first.cells == ((0, 1, 2), (3, 4, 5))
    assert second.cells == ((6, 7, 8), (9, 10, 11))
    assert [row.text for row in first.rows] == ["a", "b"]
    assert [column.text for column in first.columns] == ["1", "2", "3"]
