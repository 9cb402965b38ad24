"""A prompt as HTML: every character as it was typed, shaded by its weight."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptattn.app.highlighting import highlighted, unreadable
from promptattn.app.messages import problem
from promptattn.app.offered import tokenizers
from promptattn.app.readings import Reading, readings
from promptattn.prompt import parse


class Read(HTMLParser):
    """The tags of a text, and the characters under each class."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.classes, self.by_class = set(), [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.classes.append(dict(attributes).get("class", ""))

    def handle_endtag(self, tag):
        self.classes.pop()

    def handle_data(self, data):
        self.by_class.append((self.classes[-1], data))


def shown(text, model=None, steps=20):
    """The text as HTML, with the windows of a model where one is named."""
    prompt = parse(text)
    return highlighted(prompt, "a1111", readings(tokenizers(model), prompt, steps) if model else ())


def reading(encoder, borders=(), lost=()):
    return Reading(encoder, 22, (22, 1), dict(borders), frozenset(lost), ())


def shade(html, text):
    return next(kind for kind, data in Read(html).by_class if data == text)


def shown_text(html):
    return unescape(re.sub(r"<[^>]*>", "", html.partition("</div>")[0]))


@pytest.mark.parametrize(
    ("prompt", "word", "kind"),
    [
        ("a red cat", "a red cat", "pa-plain"),
        ("a (red:1.05) cat", "red", "pa-more-1"),
        ("a (red:1.4) cat", "red", "pa-more-2"),
        ("a (red:2) cat", "red", "pa-more-4"),
        ("a (red:50) cat", "red", "pa-more-4"),
        ("a [red] cat", "red", "pa-less-1"),
        ("a (red:0) cat", "red", "pa-less-4"),
        ("a (red:-1) cat", "red", "pa-against"),
        ("a (red:1.4) cat", ":1.4)", "pa-syntax"),
        ("un ((ratón)) gris", "ratón", "pa-more-2"),
        (r"a \(red\) cat", "\\", "pa-syntax"),
    ],
)
def test_the_shade_is_the_weight(prompt, word, kind):
    assert shade(shown(prompt), word) == kind


def test_a_finding_is_underlined_and_told():
    html = shown("a (red:500) cat")
    assert "pa-finding" in shade(html, "red") or "pa-finding" in shade(html, "(red:500)")
    assert "far beyond what a model was trained to follow" in html.partition("pa-notes")[2]


def test_a_text_that_cannot_be_read_is_shown_with_the_reason():
    html = unreadable("<b>x", "no such syntax")
    assert shown_text(html) == "<b>x"
    assert "pa-notes" in html


@given(st.text(max_size=60) | st.text(alphabet='()[]:<>&"\\{}|1.5 aé🐱', max_size=60))
def test_nothing_of_a_text_is_markup_and_nothing_is_lost(text):
    html = shown(text)
    assert Read(html).tags <= {"div", "span", "ul", "li"}
    assert shown_text(html) == text


def marks(html):
    """The text with each mark of a window in its place, and what the marks are called."""
    found = re.compile(r'<span class="pa-border"[^>]*aria-label="([^"]*)"[^>]*data-window="([^"]*)"></span>')
    return shown_text(found.sub(r"⟨\2⟩", html)), [label for label, _ in found.findall(html)]


@pytest.mark.parametrize(
    ("prompt", "marked"),
    [
        ("a red cat", "a red cat"),
        ("a cat BREAK a (star:1.2)", "a cat BREAK ⟨2⟩a (star:1.2)"),
        ("a cat BREAK BREAK a star", "a cat BREAK BREAK ⟨3⟩a star"),
        ("a red cat, " * 5 + "a (red:1.4) cat", "a red cat, " * 5 + "⟨2⟩a (red:1.4) cat"),
        ("a cat " * 11 + "(star:1.2)", "a cat " * 11 + "(⟨2⟩star:1.2)"),
        ("a cat AND a star BREAK a mouse", "a cat AND a star BREAK ⟨2⟩a mouse"),
        ("a [cat:star BREAK a mouse:0.5]", "a [cat:star BREAK ⟨2⟩a mouse:0.5]"),
        (r"\(a cat\) BREAK \[a star", r"\(a cat\) BREAK \⟨2⟩[a star"),
    ],
)
def test_a_mark_stands_where_the_next_window_begins(prompt, marked):
    text, labels = marks(shown(prompt, "shapes"))
    assert text == marked
    assert labels == [f"window {number} begins here" for number in re.findall(r"⟨(\d)⟩", marked)]


def test_a_mark_says_whose_window_it_is_where_encoders_differ():
    prompt = parse("a red cat")
    both = [reading("one", {2: 2}), reading("two", {2: 2})]
    assert marks(highlighted(prompt, "a1111", both))[1] == ["window 2 begins here"]
    apart = [reading("one", {2: 2}), reading("two", {6: 2})]
    text, labels = marks(highlighted(prompt, "a1111", apart))
    assert text == "a ⟨2⟩red ⟨2⟩cat"
    assert labels == ["window 2 begins here in one", "window 2 begins here in two"]
    text, labels = marks(highlighted(prompt, "a1111", [reading("one", {2: 2}), reading("two", {2: 3})]))
    assert (text, labels) == ("a ⟨2/3⟩red cat", ["window 2 begins here in one; window 3 begins here in two"])


def test_what_is_cut_off_is_dotted_from_its_first_word_on():
    html = shown("a cat " * 11 + "a (red:1.2) star", "shapes-dit")
    lost = [data for kind, data in Read(html).by_class if "pa-lost" in kind]
    assert "".join(lost) == "a red star"
    assert 'title="cut off; weight 1.2"' in html


def test_who_does_not_read_it_is_said_where_another_encoder_does():
    html = highlighted(parse("a red cat"), "a1111", [reading("one", lost=range(2, 9)), reading("two")])
    assert '<span class="pa-plain pa-lost" title="cut off in one">red cat</span>' in html


def test_findings_about_tokens_are_told_too():
    assert "so BREAK does nothing there" in shown("a cat BREAK a star", "shapes-dit").partition("pa-notes")[2]
    assert "BREAK does nothing" not in shown("a cat BREAK a star", "shapes")


def test_the_same_finding_is_told_once():
    assert shown("a (cat (and (star").count("<li>") == 1


@given(st.text(max_size=40) | st.text(alphabet="(a[b:|])\\ ,BREAKAND.5🐱", max_size=200))
def test_marks_add_nothing_to_the_text(text):
    assert shown_text(shown(text, "shapes", steps=5)) == text
    assert shown_text(shown(text, "shapes-dit", steps=5)) == text


def test_a_long_text_of_findings_takes_no_time_to_speak_of():
    import time

    began = time.perf_counter()
    shown("(a:500) " * 1_250, "shapes")
    assert time.perf_counter() - began < 10


def test_half_a_surrogate_pair_is_shown_as_what_it_becomes_and_can_be_sent():
    text = "a \ud83d (\ude00:1.4) cat"
    for html in (highlighted(parse(text), "a1111"), unreadable(text, f"{text} is none"), problem(text)):
        assert "\ufffd" in html.encode("utf-8").decode("utf-8")
