"""What changes from step to step in A1111 syntax, against what A1111 itself chooses and against a reference."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from promptattn.prompt import Alternate, And, Break, Part, Prompt, Schedule, Span, find_in_timeline, parse
from promptattn.prompt.assembly import assemble
from promptattn.prompt.canonical import MAX_NESTING
from promptattn.prompt.source import clean_source
from promptattn.prompt.syntax import read_syntax

RECORDED = json.loads((Path(__file__).parent / "a1111_schedules.json").read_text("utf-8"))


def weights_only(text: str) -> Prompt:
    """`text` with its weights read, and nothing that changes: the second half of what A1111 does."""
    source = clean_source(text)
    nodes, _ = assemble(source, read_syntax(source.text), text)
    return Prompt(tuple(nodes))


def codes(prompt: Prompt) -> list[str]:
    return [found.code for found in prompt.diagnostics]


# Recorded by running A1111: [[steps it has held for in the end, text], ...] of a run of 10.
A1111 = [
    ("a [b:3]", [[3, "a "], [10, "a b"]]),
    ("[b::4] a", [[4, "b a"], [10, " a"]]),
    ("[a|b|c]", [[n + 1, "abc"[n % 3]] for n in range(10)]),
    ("a [b:c:1.0]", [[10, "a b"]]),
    ("a [b:c:-1]", [[10, "a c"]]),
    ("[a:b:x]", [[10, "[a:b:x]"]]),
    ("[[a|b]:c:.5]", [[1, "a"], [2, "b"], [3, "a"], [4, "b"], [5, "a"], [10, "c"]]),
    ("[a|]", [[n + 1, "a" * (1 - n % 2)] for n in range(10)]),
    ("a [b:c:1.5]", [[10, "a b"]]),
    ("\\[a:b:.5\\]", [[10, "\\[a:b:.5\\]"]]),
    ("a: [b:c:.5]", [[5, "a: b"], [10, "a: c"]]),
    ("[a:b:.25] [c:d:.75] e", [[2, "a c e"], [7, "b c e"], [10, "b d e"]]),
    ("[(red:1.3):blue:0.4] cat", [[4, "(red:1.3) cat"], [10, "blue cat"]]),
    ("a [[[b]]:2]", [[2, "a "], [10, "a [[b]]"]]),
    ("[(a:2):3]", [[3, ""], [10, "(a:2)"]]),
    ("a [b : c : 1] d", [[1, "a b  d"], [10, "a  c  d"]]),
    ("a[b:[c:d:2]:1]e", [[1, "abe"], [2, "ace"], [10, "ade"]]),
    ("((a][:b:c [d:3]", [[3, "((a][:b:c "], [10, "((a][:b:c d"]]),
    ("[fe|||]male", [[n + 1, "male" if n % 4 else "female"] for n in range(10)]),
    ("(cat:[1.1:1.4:0.5])", [[5, "(cat:1.1)"], [10, "(cat:1.4)"]]),
]


@pytest.mark.parametrize(("text", "schedule"), A1111)
def test_switches_where_a1111_does(text, schedule):
    prompt = parse(text)
    for step in range(10):
        chosen = next(text for until, text in schedule if step < until)
        assert prompt.at(step, 10) == weights_only(chosen), step


@pytest.mark.parametrize(("text", "chosen"), RECORDED["agrees"])
def test_chooses_the_text_that_a1111_chooses(text, chosen):
    prompt = parse(text)
    assert [prompt.at(step, 4) for step in range(4)] == [weights_only(one) for one in chosen]


@pytest.mark.parametrize(("text", "chosen"), RECORDED["differs"])
def test_differs_from_a1111_only_next_to_stray_brackets_and_glued_breaks(text, chosen):
    """There a closing bracket that closes nothing keeps a schedule beside it from being read; and `[x|y]BREAK`."""
    prompt = parse(text)
    assert [prompt.at(step, 4) for step in range(4)] != [weights_only(one) for one in chosen]
    assert {"stray-bracket", "unclosed-bracket"} & set(codes(prompt)) or "]BREAK" in text


# A prompt as a tree of the reference, how it is written, and the text that it stands for at a step.
@dataclass(frozen=True)
class Text:
    text: str

    def written(self) -> str:
        return self.text

    def chosen(self, step: int, steps: int) -> str:
        return self.text


@dataclass(frozen=True)
class Group:
    before: str
    items: tuple
    after: str

    def written(self) -> str:
        return self.before + "".join(item.written() for item in self.items) + self.after

    def chosen(self, step: int, steps: int) -> str:
        return self.before + "".join(item.chosen(step, steps) for item in self.items) + self.after


@dataclass(frozen=True)
class FromTo:
    first: Group | None
    second: Group
    when: str

    def written(self) -> str:
        first = "" if self.first is None else f"{self.first.written()}:"
        return f"[{first}{self.second.written()}:{self.when}]"

    def chosen(self, step: int, steps: int) -> str:
        number = float(self.when)
        switch = int(number * steps if "." in self.when else number)
        if step >= switch:
            return self.second.chosen(step, steps)
        return "" if self.first is None else self.first.chosen(step, steps)


@dataclass(frozen=True)
class Turns:
    options: tuple

    def written(self) -> str:
        return f"[{'|'.join(option.written() for option in self.options)}]"

    def chosen(self, step: int, steps: int) -> str:
        return self.options[step % len(self.options)].chosen(step, steps)


@dataclass(frozen=True)
class Weighed:
    inside: Group
    weight: object

    def written(self) -> str:
        return f"({self.inside.written()}:{self.weight.written()})"

    def chosen(self, step: int, steps: int) -> str:
        return f"({self.inside.chosen(step, steps)}:{self.weight.chosen(step, steps)})"


WHEN = st.sampled_from(["3", "0", "-1", " 2 ", "99", "0.5", ".25", "1.0", "1.", "-.5", "2e0", "0.29", "1.5"])
LEAF = st.sampled_from(["un gato", "rojo", " ", ", ", "\\(x\\)", "\\:", "\\|", "b", "\\\\", " BREAK ", "1.2"]).map(Text)
NUMBER = st.sampled_from(["1.2", ".5", " 2 ", "-1", "0", "1.2.3", "x", ""]).map(Text)


def number_that_changes(inner):
    schedules = st.builds(FromTo, st.none() | inner, inner, WHEN)
    return schedules | st.lists(inner, min_size=2, max_size=3).map(tuple).map(Turns)


WEIGHT = NUMBER | number_that_changes(NUMBER) | number_that_changes(number_that_changes(NUMBER))


def deeper(inner):
    group = st.lists(inner, max_size=3).map(tuple).map(lambda items: Group("", items, ""))
    return (
        group.map(lambda g: Group("(", g.items, ")"))
        | group.map(lambda g: Group("[", g.items, "]"))
        | st.builds(Weighed, group, WEIGHT)
        | st.builds(FromTo, st.none() | group, group, WHEN)
        | st.lists(group, min_size=2, max_size=3).map(tuple).map(Turns)
    )


PROMPTS = st.lists(st.recursive(LEAF, deeper, max_leaves=8), max_size=5).map(lambda items: Group("", tuple(items), ""))


@settings(deadline=None, max_examples=150)
@given(PROMPTS, st.integers(1, 7))
def test_the_prompt_of_a_step_is_the_chosen_text_read(tree, steps):
    prompt = parse(tree.written())
    assume("many-weights" not in codes(prompt))  # beyond the bound on copies, which is said
    moments = dict(prompt.timeline(steps))
    current = None
    for step in range(steps):
        expected = weights_only(tree.chosen(step, steps))
        assert prompt.at(step, steps) == expected
        current = moments.get(step, current)
        assert current == expected


@settings(deadline=None)
@given(PROMPTS, PROMPTS)
def test_rendering_a_scheduled_prompt_reads_back(left, right):
    for text in (left.written(), f"{left.written()} AND {right.written()} :0.5 AND a"):
        prompt = parse(text)
        assert parse(prompt.render()) == prompt


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("[a:b:3]", Schedule(parse("a"), parse("b"), 3)),
        ("[a:b:0.5]", Schedule(parse("a"), parse("b"), 0.5, "fraction")),
        ("[a:b:1]", Schedule(parse("a"), parse("b"), 1)),
        ("[a:b:1.0]", Schedule(parse("a"), parse("b"), 1.0, "fraction")),
        ("[b:3]", Schedule(Prompt(), parse("b"), 3)),
        ("[a::3]", Schedule(parse("a"), Prompt(), 3)),
        ("[rojo|azul]", Alternate((parse("rojo"), parse("azul")))),
        ("([a:(b:1.2):3]:1.5)", Schedule(parse("(a:1.5)"), parse("(b:1.8)"), 3)),
        ("(a:[1.1:1.4:3])", Schedule(parse("(a:1.1)"), parse("(a:1.4)"), 3)),
        ("(a:[1.1:3])", Schedule(parse("(a\\:)"), parse("(a:1.1)"), 3)),
        ("(a: [1|big] )", Alternate((parse("(a:1)"), parse("(a: big )")))),
        ("(\\[a\\|b\\]:2)", Span("[a|b]", 2.0)),
    ],
)
def test_reads(text, node):
    assert parse(text) == Prompt((node,))


def test_positions_of_what_changes_are_those_of_the_users_text():
    text = "un [gato:(perro:1.2):0.5] <lora:x:1>y (sol:[1|2])"
    prompt = parse(text)
    switches = [node for node in prompt.nodes if not isinstance(node, Span)]
    assert [text[node.start : node.end] for node in switches] == ["[gato:(perro:1.2):0.5]", "[1|2]"]
    at = prompt.at(9, 10)
    assert [text[span.start : span.end] for span in at.spans] == ["un ", "perro", " <lora:x:1>y ", "sol"]
    assert at.source == text
    assert text[slice(*at.locate(*at.ranges[1]))] == "perro"


@pytest.mark.parametrize(
    ("text", "code", "marked"),
    [
        ("a [cat:dog:half] b", "bad-schedule", "[cat:dog:half]"),
        ("a [cat:dog:1,5] b", "bad-schedule", "[cat:dog:1,5]"),
        ("a [cat:nan] b", "bad-schedule", "[cat:nan]"),
        ("a [cat:dog:inf] b", "bad-schedule", "[cat:dog:inf]"),
        ("a [cat:dog:1e400] b", "bad-schedule", "[cat:dog:1e400]"),
        ("a [cat:dog:" + "9" * 400 + "] b", "bad-schedule", "[cat:dog:" + "9" * 400 + "]"),
        ("a [cat:dog:] b", "bad-schedule", "[cat:dog:]"),
        ("a [a:b:c:3] b", "bad-schedule", "[a:b:c:3]"),
        ("a [cat|dog:3] b", "bad-schedule", "[cat|dog:3]"),
        ("a:2 AND 10:30", "digits-colon", ":30"),
        ("a:" + "9" * 400 + " AND b", "bad-number", ":" + "9" * 400),
        ("a cat:1.5", "loose-number", ":1.5"),
        ("(a:[1.2.3|2])", "empty-brackets", None),
    ],
)
def test_says_what_looks_wrong_and_where(text, code, marked):
    found = [d for d in parse(text).diagnostics if d.code == code]
    if marked is None:
        assert not found
        return
    assert [text[d.start : d.end] for d in found] == [marked], parse(text).diagnostics
    assert parse(parse(text).render()) == parse(text)


@pytest.mark.parametrize(
    "text", ["[a note: a cat]", "[x: y: z]", "time 10:30, ratio 16:9", "un gato | un perro", "[fe|]male", "[a|b] [c:5]"]
)
def test_ordinary_prompts_have_no_findings(text):
    assert parse(text, strict=True).diagnostics == ()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a AND b", [("a", 1.0), ("b", 1.0)]),
        ("a:2 AND b", [("a", 2.0), ("b", 1.0)]),
        ("a AND ", [("a", 1.0), ("", 1.0)]),
        ("a : 1.5 AND b :-.5 ", [("a", 1.5), ("b", -0.5)]),
        ("a:1. AND b:+2", [("a", 1.0), ("b", 2.0)]),
        ("a 10:30 AND b 1:2:3", [("a 10:30", 1.0), ("b 1:2:3", 1.0)]),
        ("time 10 :30 AND b", [("time 10", 30.0), ("b", 1.0)]),
        ("a:1:2 AND b", [("a:1:2", 1.0), ("b", 1.0)]),
        ("a:b:2 AND (b:1.0)", [("a:b", 2.0), ("b", 1.0)]),
        ("un gato AND un perro:0.5 AND AND", [("un gato", 1.0), ("un perro", 0.5), ("", 1.0), ("", 1.0)]),
    ],
)
def test_and_joins_prompts_with_weights(text, parts):
    prompt = parse(text)
    assert [(part.prompt.text, part.weight) for part in prompt.parts] == parts
    assert isinstance(prompt.nodes[0], And)
    assert parse(prompt.render()) == prompt


@pytest.mark.parametrize("text", ["a and b", "LAND", "A\\ND", "time 10:30", "un gato:1.5", "ratio 16:9"])
def test_without_and_there_is_one_prompt_and_no_weight_of_all(text):
    prompt = parse(text)
    assert prompt.is_plain
    assert prompt.text == text.replace("\\", "")
    assert parse(prompt.render()) == prompt


def test_brackets_do_not_hold_across_and():
    prompt = parse("(a AND b:1.2)")
    assert [part.prompt for part in prompt.parts] == [Prompt((Span("a", 1.1),)), Prompt((Span("b:1.2)"),))]
    assert codes(prompt) == ["unclosed-bracket", "stray-bracket"]


def test_parts_of_and_change_each_on_their_own():
    prompt = parse("[a|b] BREAK c:2 AND (d:[1|2])")
    assert prompt.at(1, 2).parts == (Part(parse("b BREAK c"), 2.0), Part(parse("(d:2)")))
    text = "[a|b] AND (dog:1.3)"
    spans = parse(text).at(1, 2).parts[1].prompt.spans
    assert [text[span.start : span.end] for span in spans] == ["dog"]


def test_a_schedule_beyond_the_last_step_is_found():
    prompt = parse("a [cat:dog:30] [sky:sea:0.5] [x|y]")
    found = find_in_timeline(prompt, 20)
    assert [(d.code, prompt.source[d.start : d.end]) for d in found] == [("late-schedule", "[cat:dog:30]")]
    assert find_in_timeline(prompt, 31) == ()


def test_a_break_inside_a_schedule_is_one():
    prompt = parse("a [BREAK b:c:1] d")
    assert prompt.at(0, 2) == Prompt((Span("a"), Break(), Span("b d")))
    assert prompt.at(1, 2) == Prompt((Span("a c d"),))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10_000 + "a" + ":b:3]" * 10_000,
        "[a|" * 10_000 + "]" * 10_000,
        "[a:" * 10_000,
        "[" * 10_000 + "a|b" + "]" * 10_000,
        "(" * 10_000 + "a" + ":[1.1|1.2])" * 10_000,
        "[a|[b|" * 16 + "(" * 2_000 + "a" + ":[1.1|1.2])" * 2_000 + "]" * 32,
        "(" * 200 + "gato " * 1000 + ":[1.1|1.2])" * 200,
        "(a:" + "[1|" * 10_000 + "2" + "]" * 10_000 + ")",
        "(" + "(a)b" * 1000 + ":[1" + "|1" * 1000 + "])",
        "[" + "a|" * 20_000 + "]",
        "[|" * 5_000 + "([:" * 5_000,
        "a AND " * 10_000,
    ],
)
def test_hostile_nesting_is_read_in_a_moment(text):
    start = time.process_time()
    prompt = parse(text)
    assert time.process_time() - start < 5  # about 0.3 s; a quadratic reader takes minutes
    assert prompt.nesting <= MAX_NESTING
    assert len(prompt.diagnostics) <= len(text)
    prompt.timeline(2)


def test_what_is_nested_too_deep_is_text_and_said():
    deep = parse("[" * 40 + "a" + "|b]" * 40)
    assert codes(deep) == ["deep-schedule"]
    assert deep.nesting == MAX_NESTING
    assert parse(deep.render()) == deep
    many = parse("(" * 40 + "a" + ":[1.1|1.2])" * 40)
    assert "many-weights" in codes(many)
    assert parse(many.render()) == many
