"""A prompt as HTML: every character as it was typed, shaded by its weight."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptattn.app.highlighting import highlighted


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


def shade(html, text):
    return next(kind for kind, shown in Read(html).by_class if shown == text)


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
    assert shade(highlighted(prompt), word) == kind


def test_a_finding_is_underlined_and_told():
    html = highlighted("a (red:500) cat")
    assert "pa-finding" in shade(html, "red") or "pa-finding" in shade(html, "(red:500)")
    assert "far beyond what a model was trained to follow" in html.partition("pa-notes")[2]


def test_a_text_that_cannot_be_read_is_shown_with_the_reason():
    html = highlighted("<b>x", syntax="none such")
    assert shown_text(html) == "<b>x"
    assert "pa-notes" in html


@given(st.text(max_size=60) | st.text(alphabet='()[]:<>&"\\{}|1.5 aé🐱', max_size=60))
def test_nothing_of_a_text_is_markup_and_nothing_is_lost(text):
    html = highlighted(text)
    assert Read(html).tags <= {"div", "span", "ul", "li"}
    assert shown_text(html) == text


def test_a_long_text_of_findings_takes_no_time_to_speak_of():
    import time

    began = time.perf_counter()
    highlighted("(a:500) " * 1_250)
    assert time.perf_counter() - began < 10
