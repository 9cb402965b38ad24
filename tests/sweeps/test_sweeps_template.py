"""What stands in braces: ranges exactly, lists, and text; mistakes at their place."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptattn.errors import ConfigError, PromptSyntaxError
from promptattn.sweeps.points import design
from promptattn.sweeps.ranges import range_values
from promptattn.sweeps.template import read_template

TABLE = [
    ("a (red:{0.5..2.0:0.25}) cat", ["0.50", "0.75", "1.00", "1.25", "1.50", "1.75", "2.00"]),
    ("{0.1..0.3:0.1}", ["0.1", "0.2", "0.3"]),
    ("{1..4}", ["1", "2", "3", "4"]),
    ("{2..-1}", ["2", "1", "0", "-1"]),
    ("{1..0:0.5}", ["1.0", "0.5", "0.0"]),
    ("{1..0:-0.5}", ["1.0", "0.5", "0.0"]),
    ("{0.5..2:0.4}", ["0.5", "0.9", "1.3", "1.7"]),
    ("{3..3}", ["3"]),
    ("{ 1e-1 .. 3E-1 : .1 }", ["0.1", "0.2", "0.3"]),
    ("[cat:dog:{0..1.0:0.5}]", ["0.0", "0.5", "1.0"]),
    ("{-.5..+.5:.5}", ["-0.5", "0.0", "0.5"]),
    ("{red,blue , green}", ["red", "blue", "green"]),
    ("{,very }", ["", "very"]),
    ("{(red:1.2),[blue]}", ["(red:1.2)", "[blue]"]),
    ("{a\\, b,c\\}}", ["a, b", "c}"]),
    ("{ratón,gato}", ["ratón", "gato"]),
]


@pytest.mark.parametrize(("template", "values"), TABLE)
def test_values(template, values):
    (axis,) = read_template(template, 64).axes
    assert list(axis.values) == values


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{cat}", "{cat}"),
        ("{a|b}", "{a|b}"),
        ("{}", "{}"),
        ("{wait... what}", "{wait... what}"),
        ("{a..c}", "{a..c}"),
        (r"\{1..3\}", "{1..3}"),
        (r"{it \} ends}", "{it } ends}"),
        (r"\(a\) \[b\] \\ \n", r"\(a\) \[b\] \\ \n"),
        ("no braces, one comma", "no braces, one comma"),
    ],
)
def test_what_is_no_sweep_stays_text(template, text):
    read = read_template(template, 64)
    assert read.axes == ()
    assert read.fill([]).text == text


def test_an_even_number_of_backslashes_escapes_no_brace():
    read = read_template(r"a\\{1,2}", 64)
    assert [read.fill([value]).text for value in read.axes[0].values] == [r"a\\1", r"a\\2"]


@pytest.mark.parametrize(
    ("template", "message", "place"),
    [
        ("a {1..2", "never closed", "  a {1..2\n    ^"),
        ("a } b", "closes nothing", "  a } b\n    ^"),
        ("{a {1..2}}", "do not nest", "  {a {1..2}}\n     ^"),
        ("x {nan..2:1}", "needs a number where it has 'nan'", "  x {nan..2:1}\n    ^^^^^^^^^^"),
        ("{1e400..2:1}", "cannot hold 1e400", "^^^^^^^^^^^^"),
        ("{0..1:1e-400}", "cannot hold 1e-400", "^"),
        ("{1..2:0}", "a step of 0", "^^^^^^^^"),
        ("{1..2:-1}", "leads away", "^"),
        ("{0.5..2}", "needs a step", "^"),
        ("{1..}", "needs a number where it has ''", "^"),
        ("{0,5..2:1}", "both a range and a list", "^"),
        ("{a,b,a}", "'a' twice", "^"),
        ("{0..1e12}", "1000000000001 values", "^"),
        ("{٣..٤}", "needs a number", "^"),
    ],
)
def test_a_mistake_is_shown_at_its_place(template, message, place):
    with pytest.raises(PromptSyntaxError) as error:
        read_template(template, 64)
    assert message in str(error.value)
    assert place in str(error.value)


@pytest.mark.parametrize(
    ("template", "negative", "message"),
    [
        ("a cat", None, "nothing is swept in 'a cat'"),
        ("a cat", "a dog", "nothing is swept"),
        ("{1,2} {1,2}", "{1,2}", "3 sweeps are more than a grid has sides"),
        ("{1..10} {1..10}", None, "makes 100 images, and 64 are the most"),
    ],
)
def test_what_makes_no_grid_is_refused(template, negative, message):
    with pytest.raises(ConfigError, match=message):
        design(template, negative, images=1, limit=64)


def test_images_count_against_the_limit():
    assert len(design("{1..8}", None, images=8, limit=64).points) == 8
    with pytest.raises(ConfigError, match="makes 72 images"):
        design("{1..8}", None, images=9, limit=64)


def test_points_run_through_both_prompts_with_the_last_axis_fastest():
    made = design("a (cat:{1,2})", "a {red,blue} dog", images=1, limit=64)
    assert [(point.at, point.prompt, point.negative) for point in made.points] == [
        ((0, 0), "a (cat:1)", "a red dog"),
        ((0, 1), "a (cat:1)", "a blue dog"),
        ((1, 0), "a (cat:2)", "a red dog"),
        ((1, 1), "a (cat:2)", "a blue dog"),
    ]
    for point in made.points:
        for (in_negative, start, end), value in zip(point.places, point.values, strict=True):
            assert (point.negative if in_negative else point.prompt)[start:end] == value


numbers = st.decimals(-1000, 1000, places=3).map(str)


@given(start=numbers, step=st.decimals("0.001", 10, places=3).map(str), count=st.integers(1, 30))
def test_a_range_holds_every_multiple_of_its_step_exactly_and_both_its_ends(start, step, count):
    for sign in (1, -1):
        end = Decimal(start) + sign * Decimal(step) * (count - 1)
        values = range_values(f"{start}..{end}:{step}", 64)
        assert [Decimal(value) for value in values] == [
            Decimal(start) + sign * Decimal(step) * index for index in range(count)
        ]
        assert len({len(value.partition(".")[2]) for value in values}) == 1


@given(st.text(st.sampled_from("{}\\,.:12an ("), max_size=20))
def test_every_template_is_read_or_refused_by_name(template):
    try:
        read = read_template(template, 8)
    except PromptSyntaxError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert "^" in refused
        return
    for axis in read.axes:
        assert axis.written in template
        assert 1 <= len(axis.values) <= 8
    filled = read.fill([axis.values[0] for axis in read.axes])
    assert [filled.text[start:end] for start, end in filled.places] == [axis.values[0] for axis in read.axes]


@given(st.text(st.characters(exclude_characters="{}\\"), max_size=30), st.sampled_from(["{1,2}", "{1..2}"]))
def test_text_round_a_sweep_is_kept(text, sweep):
    read = read_template(text + sweep + text, 8)
    assert [read.fill([value]).text for value in read.axes[0].values] == [text + "1" + text, text + "2" + text]
