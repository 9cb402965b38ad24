"""The A1111 syntax against what A1111's own parser returns, and case by case where that parser has nothing to say."""

import json
import subprocess
import sys
import time
import timeit
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptattn.errors import ConfigError, PromptSyntaxError
from promptattn.prompt import Break, Prompt, Span, parse
from promptattn.prompt.timeline import all_spans

TABLE = json.loads((Path(__file__).parent / "a1111_weights.json").read_text("utf-8"))["weights"]
# Letters with which any text is likely to be syntax.
SYNTAX = st.lists(
    st.sampled_from(
        [
            *"()[]:\\ .|<>",
            *("1.2", "-3", "a", "gato", ",", "BREAK", " BREAK ", "<lora:x:0.8>", "日本", "😀"),
            *(" AND ", "|", ":3]", ":.5]", "[a|"),
        ]
    )
).map("".join)
ANY_TEXT = st.text() | SYNTAX


def parts(prompt: Prompt) -> list[list[tuple[str, float]]]:
    """Text and weight (to six digits) of the spans between the breaks."""
    found: list[list[tuple[str, float]]] = [[]]
    for node in prompt.nodes:
        if isinstance(node, Break):
            found.append([])
        else:
            found[-1].append((node.text, round(node.weight, 6)))
    return found


def codes(prompt: Prompt) -> list[str]:
    return [found.code for found in prompt.diagnostics]


def test_the_table_is_whole():
    assert len(TABLE) == 263
    assert sum(expected is None for _, expected in TABLE) == 12


@pytest.mark.parametrize(("text", "expected"), [row for row in TABLE if row[1] is not None])
def test_agrees_with_a1111(text, expected):
    theirs: list[list[tuple[str, float]]] = [[]]
    for piece, weight in expected:
        if piece == "BREAK":
            theirs.append([])
        elif piece:
            theirs[-1].append((piece, weight))
    assert parts(parse(text)) == theirs


@pytest.mark.parametrize("text", [text for text, expected in TABLE if expected is None])
def test_reads_what_a1111_crashes_on_and_says_so(text):
    prompt = parse(text)
    assert "bad-number" in codes(prompt)
    assert ":1.2.3" in prompt.text


@pytest.mark.parametrize("text", [text for text, _ in TABLE])
def test_every_prompt_of_the_table_renders_and_reads_back(text):
    assert parse(parse(text).render()) == parse(text)


def texts(prompt: Prompt) -> list[Prompt]:
    """The plain prompts of all parts and of the first steps."""
    return [plain for part in prompt.parts for _, plain in part.prompt.timeline(4)]


@settings(deadline=None)
@given(ANY_TEXT)
def test_every_string_is_a_prompt(text):
    prompt = parse(text)
    assert all(span.text for span in all_spans(prompt))
    for found in prompt.diagnostics:
        assert 0 <= found.start < found.end <= len(text), found


@settings(deadline=None)
@given(ANY_TEXT)
def test_rendering_reads_back(text):
    prompt = parse(text)
    assert parse(prompt.render()) == prompt
    # What was rendered is written cleanly: no bracket, number or tag of it is a mistake.
    slips = {"unclosed-bracket", "stray-bracket", "bad-number", "crossing-brackets", "network-tag", "broken-character"}
    assert not slips & set(codes(parse(prompt.render())))


@settings(deadline=None)
@given(ANY_TEXT)
def test_clean_text_is_the_spans_with_a_space_at_breaks(text):
    for prompt in texts(parse(text)):
        between = [
            "".join(node.text for node in run)
            for is_break, run in groupby(prompt.nodes, key=lambda node: isinstance(node, Break))
            if not is_break
        ]
        assert prompt.text == " ".join(between)
        assert [prompt.text[start:end] for start, end in prompt.ranges] == [span.text for span in prompt.spans]
        assert len(prompt.breaks) == sum(isinstance(node, Break) for node in prompt.nodes)


@settings(deadline=None)
@given(ANY_TEXT)
def test_every_clean_character_is_found_in_the_users_text(text):
    for prompt in texts(parse(text)):
        for (low, high), span in zip(prompt.ranges, prompt.spans, strict=True):
            assert (span.start, span.end) == prompt.locate(low, high)
            for place in range(low, high):
                start, end = prompt.locate(place, place + 1)
                assert end == start + 1
                assert prompt.text[place] in (text[start], "\ufffd")


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("a (red:1.4) cat", (Span("a "), Span("red", 1.4), Span(" cat"))),
        ("un gato (rojo:1.4) persigue", (Span("un gato "), Span("rojo", 1.4), Span(" persigue"))),
        ("((word))", (Span("word", 1.21),)),
        ("(a:-0)", (Span("a", 0.0),)),
        ("(a:١.٢)", (Span("a", 1.2),)),  # digits of any script, as float() reads them
        ("BREAK", (Break(),)),
        (" BREAK BREAK ", (Break(), Break())),
        ("(a ) BREAK ( b)", (Span("a", 1.1), Break(), Span("b", 1.1))),
        ("(a ( ) BREAK b)", (Span("a", 1.1), Break(), Span("b", 1.1))),
        ("(a:-1) BREAK b", (Span("a", -1.0), Break(), Span("b"))),
        ("B\\REAK", (Span("BREAK"),)),
        ("a <lora:some name v2(x):0.8> b", (Span("a  b"),)),
        ("<LoRA:x:1>a", (Span("a"),)),
        ("<\\lora:x:1>", (Span("<lora:x:1>"),)),
        ("<b>a</b>", (Span("<b>a</b>"),)),
        ("(a [b) c]", (Span("a ", 1.1), Span("b"), Span(" c", 1 / 1.1))),
        ("a\ud800b", (Span("a\ufffdb"),)),
    ],
)
def test_reads(text, nodes):
    assert parse(text) == Prompt(nodes)


@pytest.mark.parametrize(
    ("text", "code", "marked"),
    [
        ("a (cat", "unclosed-bracket", "("),
        ("a [[cat", "unclosed-bracket", "[["),
        ("a cat)", "stray-bracket", ")"),
        ("a cat:1.2)", "stray-bracket", ")"),
        ("a () cat", "empty-brackets", "()"),
        ("a (:1.2) cat", "empty-brackets", "(:1.2)"),
        ("a ( ) cat", "empty-brackets", "( )"),
        ("(a [b) c]", "crossing-brackets", "[b)"),
        ("(a:1.2.3)", "bad-number", "1.2.3"),
        ("(a:1,2)", "bad-number", "1,2"),
        ("(a:1e9)", "bad-number", "1e9"),
        ("(a:inf)", "bad-number", "inf"),
        ("(a: nan)", "bad-number", " nan"),
        ("(a:big)", "bad-number", "big"),
        ("(a:)", "bad-number", ":"),
        (f"(a:{'9' * 400})", "bad-number", "9" * 400),
        ("a cat:1.2, dog", "loose-number", ":1.2"),
        ("a (red)cat now", "glued-words", "red)cat"),
        ("un <lora:x:1>gato, ga<lora:x:1>to", "glued-words", "a<lora:x:1>t"),
        ("(a:1000000000)", "absurd-weight", "a"),
        ("(a:-100.5)", "absurd-weight", "a"),
        ("((a:1" + "0" * 300 + "):1" + "0" * 300 + ")", "infinite-weight", "a"),
        ("[" * 8000 + "a" + "]" * 8000, "vanished-weight", "a"),
        ("a <lora:x:0.8> b", "network-tag", "<lora:x:0.8>"),
        ("a\\b", "backslash", "\\"),
        ("a （cat:1.2） b", "full-width-bracket", "（"),
        ("a\ud800b", "broken-character", "\ud800"),
    ],
)
def test_says_what_looks_wrong_and_where(text, code, marked):
    found = [d for d in parse(text).diagnostics if d.code == code]
    assert found, parse(text).diagnostics
    assert text[found[0].start : found[0].end] == marked


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("a (cat:1.4", ["'(' is never closed and holds to the end; write (word:1.4) to weigh, or \\( or"]),
        ("a ((cat:1.4 b", ["'((' is never closed and holds to the end; write (word:1.4) to weigh, or"]),
        ("a (cat", ["'(' is never closed and holds to the end; write \\( or \\[ for the character"]),
        (
            "(a, [b:1.5",
            [
                "'(' is never closed and holds to the end; write \\(",
                "'[' is never closed and holds to the end; write (word:1.5)",
            ],
        ),
        (
            "a:1.3 (b:1.4",
            ["':1.3' stands outside brackets", "'(' is never closed and holds to the end; write (word:1.4)"],
        ),
    ],
)
def test_a_bracket_that_was_not_closed_is_one_slip(text, messages):
    found = sorted(parse(text).diagnostics, key=lambda diagnostic: diagnostic.start)
    assert [each.message.startswith(message) for each, message in zip(found, messages, strict=True)] == [True] * len(
        messages
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "un gato (rojo:1.4) persigue a un [ratón gris], (cielo:0) y (mar:-1)",
        "a (red cat BREAK blue dog:1.2) BREAK end",
        "a photo (close-up: a cat), at 12:30, ratio 16:9, (50:1.5)",
        "\\(lit\\) \\[lit\\] \\\\",
        "日(本:1.2)語",  # nothing is glued where no spaces are written
        "(a::1.2) (b:100)",
        "a and b | c",
    ],
)
def test_ordinary_prompts_have_no_findings(text):
    assert parse(text, strict=True).diagnostics == ()


def test_weights_stay_finite_whatever_the_nesting():
    huge = "1" + "0" * 300
    assert parse(f"((a:{huge}):{huge})").spans == (Span("a", 1.0),)
    assert parse(f"(((a:0):{huge}):{huge})").spans == (Span("a", 0.0),)
    assert parse("(" * 10_000 + "[" * 10_000 + "a" + "]" * 10_000 + ")" * 10_000).spans == (Span("a", 1.0),)


@pytest.mark.parametrize(
    "unit",
    [
        "(",
        "[",
        ")",
        "(a ",
        "[a ",
        "()",
        "([)]",
        ":",
        "\\",
        "\\a",
        " ",
        "<lora:",
        "(a:1",
        "(a:1.2 ",
        "a:1.2",
        "BREAK ",
        "a|",
        "[a|b]",
        "[a:",
        "[a|",
        "(a:[1|2])",
        "(a:[",
        ":3]",
        "a AND ",
        "1",
    ],
)
def test_time_is_linear(unit):
    """Sixteen times the text takes about 16 times as long; quadratic time would be 256 times."""

    def seconds(count: int) -> float:
        text = unit * count
        return min(timeit.repeat(lambda: parse(text), timer=time.process_time, number=1, repeat=2))

    assert seconds(8_000) < 64 * seconds(500) + 0.05


def test_strict_raises_the_first_mistake_with_a_caret():
    with pytest.raises(PromptSyntaxError) as caught:
        parse("un gato (rojo, un (ratón:1,4)", strict=True)
    message, line, caret = str(caught.value).split("\n")
    assert message == (
        "'(' is never closed and holds to the end; write \\( or \\[ for the character "
        "[unclosed-bracket at position 8] (1 more in this prompt)"
    )
    assert line == "  un gato (rojo, un (ratón:1,4)"
    assert caret == "          ^"


def test_strict_points_into_the_middle_of_a_long_or_wide_prompt():
    with pytest.raises(PromptSyntaxError) as caught:
        parse("word " * 1000 + "日本\n)" + " word" * 1000, strict=True)
    _, line, caret = str(caught.value).split("\n")
    assert line[2:5] == line[-3:] == "..."
    assert line.replace("日本", "日.本.").index(")") == caret.index("^")


def test_strict_lets_pass_what_is_only_reported():
    assert codes(parse("a <lora:x:0.8> b\\c", strict=True)) == ["network-tag", "backslash"]


def test_unknown_syntax_names_what_there_is():
    with pytest.raises(ConfigError, match=r"no prompt syntax 'midjourney'; there is: a1111, comfy, compel"):
        parse("a", syntax="midjourney")


@pytest.mark.parametrize("wrong", [None, 1, b"a", ["a", "b"]])
def test_a_prompt_is_one_string(wrong):
    with pytest.raises(PromptSyntaxError, match=f"a prompt is one string, not {type(wrong).__name__}"):
        parse(wrong)


def test_prompts_load_neither_torch_nor_transformers():
    check = "import sys, promptattn.prompt; print(*(m for m in ('torch', 'transformers', 'numpy') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
