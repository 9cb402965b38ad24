"""The viewer: one file, no network, nothing unescaped, and the maps in it are the maps."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from synthetic import demo, picture

from promptattn.maps import colormap

EVIL = "</script><img src=x onerror=alert(1)> {{ 7*7 }} & \"quoted\" 'single' <b>bold"
VOID = {"meta", "img", "input", "br", "link"}


class Page(HTMLParser):
    """Tags with attributes, and whether they nest; the text of scripts apart."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.scripts, self.text, self.open = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.scripts if self.open and self.open[-1] == "script" else self.text).append(data)


def page_of(folder):
    html = (folder / "index.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    return html, page, json.loads(page.scripts[0])


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    maps = demo(text=EVIL, weights={"bold": 1.3, "src": 0.5})
    maps.meta["model"] = "<i>model</i>"
    return maps.save(tmp_path_factory.mktemp("viewer") / "out", image=picture())


def test_nothing_comes_from_outside(exported):
    html, page, _ = page_of(exported[1])
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\(|fetch\(|XMLHttp|import\(", html)
    for tag, attrs in page.tags:
        assert tag not in {"link", "iframe", "object", "base", "form"}
        for name in ("src", "href", "action", "data"):
            assert attrs.get(name, "data:").startswith("data:")
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_prompt_text_is_escaped_everywhere(evil):
    html, page, data = page_of(evil)
    assert "<img src=x" not in html
    assert "<b>" not in html
    assert "<i>model" not in html
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert {attrs.get("alt", "") for tag, attrs in page.tags if tag == "img"} == {EVIL}
    assert "bold" in {map["label"] for map in data["views"][0]["maps"]}
    assert "<i>model</i>" in page.text
    assert "{{ 7*7 }}" not in html.replace("{{ 7*7 }} &amp;", "")
    assert "49" not in [text.strip() for text in page.text]


def test_the_maps_in_the_page_are_the_maps(exported):
    maps, folder = exported
    _, _, data = page_of(folder)
    view = data["views"][0]
    height, width = view["grid"]
    assert height / width == pytest.approx(96 / 160, abs=0.02)
    assert max(view["grid"]) <= 64
    expected = [*maps.words, *("start", "end", "padding"), 0]
    assert len(view["maps"]) == len(expected)
    for entry, subject in zip(view["maps"], expected, strict=True):
        heat = maps.patch(0) if subject == 0 else maps.special(subject) if isinstance(subject, str) else maps[subject]
        levels = np.frombuffer(base64.b64decode(entry["mass"]), "<u2").reshape(height, width)
        mass = levels / 65535 * entry["top"]
        np.testing.assert_allclose(mass, heat.resized((height, width)), atol=entry["top"] / 65535)
        assert entry["share"] == pytest.approx(heat.share)
    table = np.frombuffer(base64.b64decode(data["colors"]), np.uint8).reshape(256, 3)
    np.testing.assert_array_equal(table, colormap("ember"))


def test_words_are_buttons_in_order_with_weight_and_share(exported):
    maps, folder = exported
    html, page, _ = page_of(folder)
    chips = [attrs for tag, attrs in page.tags if tag == "button" and "data-map" in attrs and "chip" in attrs["class"]]
    assert [int(chip["data-map"]) for chip in chips] == list(range(12))
    assert all(chip["aria-pressed"] == "false" and chip["type"] == "button" for chip in chips)
    assert re.search(r"rojo</bdi>\s*<span class=\"weight\"><span class=\"quiet\">weight </span>1\.4</span>", html)
    assert f"{100 * maps['gato'].share:.1f}\u00a0%" in html
    assert chips[3]["title"] == "tokens: pers · igue"


def test_equal_words_are_told_apart(exported):
    _, _, data = page_of(exported[1])
    nth = {(map["label"], map["nth"]) for map in data["views"][0]["maps"] if map["kind"] == "word"}
    assert {("un", 1), ("un", 2), ("gato", None)} < nth


def test_words_that_were_cut_are_shown_as_such(tmp_path):
    html, _, data = page_of(demo(cut=("gris",)).save(tmp_path / "out"))
    assert re.search(r'class="chip lost cut"><bdi class="name">gris</bdi> <small>cut off</small>', html)
    assert "gris" not in {map["label"] for map in data["views"][0]["maps"]}


def test_the_colour_scale_can_be_chosen(tmp_path, maps):
    _, _, data = page_of(maps.save(tmp_path / "out", colormap="cubehelix"))
    assert base64.b64decode(data["colors"]) == colormap("cubehelix").tobytes()


def test_a_batch_has_a_picker(tmp_path):
    _, page, data = page_of(demo(images=3).save(tmp_path / "out", image=[picture()] * 3))
    assert len(data["views"]) == 3
    assert [attrs["data-view"] for _, attrs in page.tags if "data-view" in attrs] == ["0", "1", "2"]
    sections = [attrs for tag, attrs in page.tags if tag == "section" and attrs.get("class") == "view"]
    assert ["hidden" in attrs for attrs in sections] == [False, True, True]


def test_the_page_speaks_to_keyboards_and_screen_readers(exported):
    _, page, _ = page_of(exported[1])
    frame = next(attrs for _, attrs in page.tags if attrs.get("class") == "frame")
    assert frame["tabindex"] == "0"
    assert "Arrow keys" in frame["aria-label"]
    assert any(attrs.get("aria-live") for _, attrs in page.tags)
    assert all("alt" in attrs for tag, attrs in page.tags if tag == "img")
    assert ("html", {"lang": "en"}) in page.tags


def test_small_images_stay_crisp_and_large_ones_small(tmp_path):
    folder = demo(size=(640, 640), text="a cat").save(tmp_path / "out", image=picture((640, 640)))
    html, page, data = page_of(folder)
    picture_class = next(attrs["class"] for tag, attrs in page.tags if tag == "img" and "picture" in attrs["class"])
    assert picture_class == "picture"
    assert data["views"][0]["grid"] == [64, 64]
    assert len(html) < 800_000
    assert html.count("data:image/webp") == 1


def test_a_very_long_prompt_stays_openable(tmp_path):
    text = " ".join(f"w{i}" for i in range(120))
    folder = demo(text=text, size=(64, 64)).save(tmp_path / "out")
    assert (folder / "index.html").stat().st_size < 2_000_000


def test_an_empty_prompt_says_so(tmp_path):
    html, _, data = page_of(demo(text="").save(tmp_path / "out", image=picture()))
    assert "The prompt has no words." in html
    assert len(data["views"][0]["maps"]) == 4
