"""The text format: what A1111 writes is read, and what is written A1111 reads."""

import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptattn.export.metadata.parameters import Parameters, format_parameters, parse_parameters
from promptattn.prompt import parse

LINE = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: 45dee52b"
FIELDS = [("Steps", 20), ("Sampler", "Euler a"), ("Seed", 1)]

TEXTS = {
    "one line": (f"a cat\n{LINE}", "a cat", "", {"Steps": "20", "Size": "512x512"}),
    "with a negative prompt": (f"a cat\nNegative prompt: ugly, fat\n{LINE}", "a cat", "ugly, fat", {"Steps": "20"}),
    "several lines of both": (
        f"a cat,\n\non a mat\nNegative prompt: ugly\nfat\n{LINE}",
        "a cat,\n\non a mat",
        "ugly\nfat",
        {"Sampler": "Euler a"},
    ),
    "only a negative prompt": (f"Negative prompt: ugly\n{LINE}", "", "ugly", {"Steps": "20"}),
    "no prompt at all": (LINE, "", "", {"CFG scale": "7"}),
    "no settings": ("a cat\nNegative prompt: ugly", "a cat", "ugly", {}),
    "Windows line ends": (f"a cat\r\nNegative prompt: ugly\r\n{LINE}\r\n", "a cat", "ugly", {"Model hash": "45dee52b"}),
    "Unicode": (f"un ratón, 日本 🐱\nNegative prompt: ñu\n{LINE}", "un ratón, 日本 🐱", "ñu", {"Steps": "20"}),
    "a prompt that ends like settings": (
        f"colours: red, mood: calm, time: 10:30\n{LINE}",
        "colours: red, mood: calm, time: 10:30",
        "",
        {"Steps": "20"},
    ),
    "two pairs are still a prompt": ("a cat\nmood: calm, light: dim", "a cat\nmood: calm, light: dim", "", {}),
    "quoted values": (
        f'a cat\n{LINE}, Lora hashes: "a: 1f, b: 2e", ADetailer prompt: "say \\"hi\\",\\nthen: go", Version: v1.9',
        "a cat",
        "",
        {"Lora hashes": "a: 1f, b: 2e", "ADetailer prompt": 'say "hi",\nthen: go', "Version": "v1.9"},
    ),
    "a quote that is never closed": (f'a cat\n{LINE}, Note: "oh, Eta: 1', "a cat", "", {"Note": '"oh', "Eta": "1"}),
    "JSON of Civitai": (
        f'a cat\n{LINE}, Hashes: {{"vae": "63ae", "model": "6ce0"}}, Version: v1.6',
        "a cat",
        "",
        {"Hashes": '{"vae": "63ae"', "Version": "v1.6"},
    ),
    "a colon in a value": (f"a cat\n{LINE}, Created Date: 2024-01-01T10:30:00Z", "a cat", "",
                           {"Created Date": "2024-01-01T10:30:00Z"}),
    "a comma behind": (f"a cat\n{LINE},", "a cat", "", {"Steps": "20"}),
    "a second negative prompt goes on": (
        f"a\nNegative prompt: b\nNegative prompt: c\n{LINE}", "a", "b\nc", {"Steps": "20"}
    ),
    "empty": ("", "", "", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_a1111_are_read(name):
    text, prompt, negative, fields = TEXTS[name]
    found = parse_parameters(text)
    assert (found.prompt, found.negative_prompt) == (prompt, negative)
    assert fields.items() <= found.fields.items()
    assert bool(fields) == bool(found.fields)


def test_a_whole_line_is_read_in_order():
    text = "x\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Size: 8x16, Model: a-b_c, RNG: CPU"
    assert list(parse_parameters(text).fields.items()) == [
        ("Steps", "20"),
        ("Sampler", "DPM++ 2M"),
        ("Schedule type", "Karras"),
        ("CFG scale", "7.5"),
        ("Size", "8x16"),
        ("Model", "a-b_c"),
        ("RNG", "CPU"),
    ]


def test_what_is_written_is_one_text_of_a1111():
    text = format_parameters("a cat\r\n  on a mat ", "ugly", [*FIELDS, ("Model", "a, b"), ("Note", 'say "hi"')])
    assert (
        text
        == 'a cat\non a mat\nNegative prompt: ugly\nSteps: 20, Sampler: Euler a, Seed: 1, Model: "a, b", Note: say "hi"'
    )
    assert parse_parameters(text).fields["Model"] == "a, b"


@pytest.mark.parametrize("text", ["Negative prompt: in here", "a\n Negative prompt: b", "a\nNegative prompt:"])
def test_negative_prompt_as_words_of_the_prompt_stays_in_it(text):
    written = format_parameters(text, text, FIELDS)
    found = parse_parameters(written)
    for read in (found.prompt, found.negative_prompt):
        # The backslash is syntax of the prompt, and says nothing there.
        assert parse(read).text == "\n".join(line.strip() for line in text.split("\n"))


def as_a1111_keeps_it(text):
    """A1111 strips every line, and both ends; lone surrogates and zero bytes cannot be written."""
    text = re.sub("[\0\ud800-\udfff]", "\ufffd", text).strip()
    return "\n".join(line.strip() for line in re.sub("\r\n?", "\n", text).split("\n")).strip()


def without_marks(text):
    """Without the backslashes that keep such a line in its prompt, and that the prompt's syntax drops."""
    return re.sub(r"^\\(?=Negative prompt:)", "", text, flags=re.MULTILINE)


PROMPTS = st.text(max_size=200) | st.lists(
    st.sampled_from(
        ["Negative prompt:", "\n", " ", "a: b", ", ", "Steps: 20", '"', "\\", "(x:1.2)", "\r", "日本", "🐱"]
    ),
    max_size=20,
).map("".join)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]( ?[a-z0-9])*", fullmatch=True)
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=50)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # Hypothesis' first look at all of Unicode
@given(PROMPTS, PROMPTS, st.dictionaries(NAMES, VALUES, min_size=3, max_size=6))
def test_what_is_written_is_read_back(prompt, negative, fields):
    kept = Parameters(as_a1111_keeps_it(prompt), as_a1111_keeps_it(negative), fields)
    found = parse_parameters(format_parameters(prompt, negative, fields.items()))
    assert dict(found.fields) == fields
    for read, wanted in ((found.prompt, kept.prompt), (found.negative_prompt, kept.negative_prompt)):
        assert without_marks(read) == without_marks(wanted)
        if not re.search("^Negative prompt:", wanted, re.MULTILINE):
            assert read == wanted


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # Hypothesis' first look at all of Unicode
@given(PROMPTS)
def test_any_text_is_read(text):
    found = parse_parameters(text)
    again = parse_parameters(format_parameters(found.prompt, found.negative_prompt, FIELDS))
    if "Negative prompt:" not in text:
        assert again.prompt == as_a1111_keeps_it(found.prompt)


@pytest.mark.parametrize(
    "piece", ["a", "aa:", "aa: ", 'aa: "', 'aa:"\\"', ":", ",", '"', "\\", "\n", "- /", 'aa: "\\",', "é"]
)
def test_a_megabyte_takes_no_time(piece):
    text = piece * (1_000_000 // len(piece))
    start = time.perf_counter()
    parse_parameters("x\n" + text)
    assert time.perf_counter() - start < 10  # a second at most; a quadratic reading takes hours
