"""ComfyUI's and compel's syntax against what those systems return, and conversion between all three."""

import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import promptattn
from promptattn.errors import ConfigError, PromptSyntaxError
from promptattn.prompt import SYNTAXES, Blend, Break, Part, Prompt, Span, convert, parse
from promptattn.prompt.timeline import all_spans

HERE = Path(__file__).parent
COMFY = json.loads((HERE / "comfy_weights.json").read_text("utf-8"))["weights"]
COMPEL = json.loads((HERE / "compel_prompts.json").read_text("utf-8"))
OTHERS = ["comfy", "compel"]
TEXTS = st.lists(
    st.sampled_from(
        [
            *'()[]:\\ .|,"+-=!',
            *("1.2", "a", "gato", "día", "BREAK", "<lora:x:0.8>", "x-ray", "日本", "++", "--", "\n", "\u00a0"),
            *(":1.2)", ":1e1)", ":nan)", ")1.3", ")+", ".attend(2)", '("a", "b").and()', "embedding:x", "AND"),
            *("withLora(x)", "withLora", '"a b"', "\ud800"),
        ]
    ),
    max_size=12,
).map("".join)
SPAN_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | TEXTS.map(
    lambda text: text.replace("\ud800", "")
)
WEIGHTS = st.sampled_from([1.0, 1.1, 0.0, 2.0, -1.0]) | st.floats(allow_nan=False, allow_infinity=False)
PROMPTS = st.lists(st.builds(Span, SPAN_TEXTS, WEIGHTS) | st.just(Break()), max_size=5).map(
    lambda nodes: Prompt(tuple(nodes))
)


def codes(prompt: Prompt) -> list[str]:
    return [found.code for found in prompt.diagnostics]


def visible(prompt: Prompt) -> list:
    """Every character that is no blank with its weight; breaks stay: what is left where blanks do not count."""
    found: list = []
    for node in prompt.nodes:
        if isinstance(node, Break):
            found.append("BREAK")
        elif isinstance(node, Blend):
            found.append([(part.weight, visible(part.prompt)) for part in node.parts] + [node.normalise])
        else:
            found += [(character, node.weight) for character in node.text if character not in " \t\n\r\x0b\x0c"]
    return found


@pytest.mark.parametrize(
    ("text", "syntax", "code"),
    [
        ("[a:b:c:d:5] " * 300, "a1111", "bad-schedule"),
        ("(((((a" * 500, "a1111", "unclosed-bracket"),
        ("(a:nan) AND " * 300, "a1111", "bad-number"),
        ("(a:nan) " * 300, "comfy", "bad-number"),
        ("a(b " * 3000, "compel", "literal-bracket"),
    ],
)
def test_findings_of_one_kind_are_few_and_the_others_counted(text, syntax, code):
    prompt = parse(text, syntax)
    alike = [found for found in prompt.diagnostics if found.code == code]
    assert len(alike) == 10
    assert alike[-1].message.startswith("and ")
    assert all(found.start < later.start for found, later in pairwise(alike))
    assert all(len(found.pointer(text)) < 400 for found in prompt.diagnostics)
    inside = [found for part in prompt.parts for found in part.prompt.diagnostics]
    assert set(inside) <= set(prompt.diagnostics)


def test_what_stands_beside_the_tenth_finding_is_counted():
    found = parse("(a:nan) " * 12, "comfy").diagnostics
    assert [each.message.startswith("and 3 more findings like these (bad-number)") for each in found] == [False] * 9 + [
        True
    ]
    assert found[-1].start == 9 * 8 + 3
    assert len({each.message for each in parse("(a:nan) " * 10, "comfy").diagnostics}) == 1


@pytest.mark.parametrize("syntax", ["a1111", "comfy", "compel"])
@pytest.mark.parametrize(
    "text", ["<lora:{}>", "a:0.5{} ", "(a:{})", "withLora({})", "（{}）", "（" * 5 + "{}", "(a:0.{})"]
)
def test_a_message_is_short_whatever_was_written(text, syntax):
    for found in parse(text.format("1" * 50_000), syntax).diagnostics:
        assert len(found.message) < 300


READ_BY_COMPEL = {  # by compel 2; neighbours parted by one blank there
    "word+": [("word", 1.1)],
    "word-": [("word", 0.9)],
    "(two words)+": [("two words", 1.1)],
    "a (b)1.5 c": [("a", 1.0), ("b", 1.5), ("c", 1.0)],
    '"a b"1.2': [("a b", 1.2)],
    "((a)1.5 b)2": [("a", 3.0), ("b", 2.0)],
    r"\(lit\)": [("(lit)", 1.0)],
    '("a", "b").and()': [("a", 1.0), ("b", 1.0)],
    "a, b.": [("a, b.", 1.0)],
    "hello (world). foo": [("hello world. foo", 1.0)],  # on purpose without compel's blank before the point
    "naïve café++": [("naïve", 1.0), ("café", 1.21)],
    "emoji 😀++": [("emoji", 1.0), ("😀", 1.21)],
    "(a b) (c)+": [("a b", 1.0), ("c", 1.1)],
    "a (b (c)1.5)0.5 d": [("a", 1.0), ("b", 0.5), ("c", 0.75), ("d", 1.0)],
}


@pytest.mark.parametrize("text", READ_BY_COMPEL)
def test_small_prompts_are_read_as_compel_reads_them(text):
    assert [(span.text.strip(), span.weight) for span in parse(text, "compel").spans] == READ_BY_COMPEL[text]


@pytest.mark.parametrize("text", [r"a A\ND b", r"a B\REAK b", r"<\lora:x:1>", "a\n\\Negative prompt: b"])
def test_a_backslash_that_keeps_a_word_text_is_no_slip(text):
    assert codes(parse(text)) == []
    assert codes(parse(r"a\b A\NDx")) == ["backslash", "backslash"]


def test_the_tables_are_whole():
    assert len(COMFY) == 263
    assert len(COMPEL["prompts"]) == 400
    assert set(SYNTAXES) == {"a1111", "comfy", "compel"}


@pytest.mark.parametrize(("text", "expected"), COMFY)
def test_agrees_with_comfyui(text, expected):
    joined: list[list] = []
    for piece, weight in expected:
        if piece and joined and joined[-1][1] == weight:
            joined[-1][0] += piece
        elif piece:
            joined.append([piece, weight])
    assert [[span.text, round(span.weight, 6)] for span in parse(text, "comfy").spans] == joined


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("((a:1.2) b:1.5)", [("a", 1.2), (" b", 1.5)]),
        ("(un (gato) [rojo]:2)", [("un ", 2.0), ("gato", 2.2), (" [rojo]", 2.0)]),
        ("(a:1_0) (b: 2\n)", [("a", 10.0), (" ", 1.0), ("b", 2.0)]),
        ("(a:inf) (b:nan)", [("a:inf", 1.1), (" ", 1.0), ("b:nan", 1.1)]),
        ("(a:1e400)", [("a:1e400", 1.1)]),
        ("\\\\(a\\\\)", [("\\(a\\)", 1.0)]),
        ("(a (b:2)", [("a (b", 2.0)]),
        ("a) (b) (c)", [("a) (b) (c)", 1.0)]),
        ("a BREAK b AND c", [("a BREAK b AND c", 1.0)]),
        ("[a:b:3] [a|b]", [("[a:b:3] [a|b]", 1.0)]),
        ("", []),
    ],
)
def test_reads_comfy(text, spans):
    assert [(span.text, span.weight) for span in parse(text, "comfy").spans] == spans


def recorded(parts: list) -> list:
    """What compel returned, as `visible` shows it."""

    def letters(pieces: list, factor: float = 1.0) -> list:
        return [(c, round(weight * factor, 6)) for text, weight in pieces for c in text if not c.isspace()]

    if "blend" in parts[0]:
        mixed = zip(parts[0]["weights"], parts[0]["blend"], strict=True)
        return [[(weight, letters(pieces)) for weight, pieces in mixed] + [parts[0]["normalize"]]]
    found: list = []
    for number, part in enumerate(parts):
        found += ["BREAK"] * bool(number) + letters(part["text"], part["weight"])
    return found


def rounded(found: list) -> list:
    """`visible` with weights to six digits."""

    def one(item):
        if isinstance(item, list):
            return [(p[0], rounded(p[1])) if isinstance(p, tuple) else p for p in item]
        return item if item == "BREAK" else (item[0], round(item[1], 6))

    return [one(item) for item in found]


@pytest.mark.parametrize(("text", "parts"), COMPEL["prompts"])
def test_agrees_with_compel_but_for_blanks(text, parts):
    assert rounded(visible(parse(text, "compel"))) == recorded(parts)


@pytest.mark.parametrize("text", COMPEL["crashes"])
def test_reads_what_compel_crashes_on(text):
    prompt = parse(text, "compel")
    assert visible(parse(prompt.render("compel"), "compel")) == visible(prompt)


@pytest.mark.parametrize("text", COMPEL["blends_of_sum_0"])
def test_a_blend_of_weights_that_sum_to_nothing_is_text_and_said(text):
    assert "bad-operator" in codes(parse(text, "compel"))


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("un gato++ rojo", (Span("un "), Span("gato", 1.21), Span(" rojo"))),
        ("(un gato)1.3, (sol)--", (Span("un gato", 1.3), Span(", "), Span("sol", 0.81))),
        ('"un gato"1.2', (Span("un gato", 1.2),)),
        ("((a)1.5 b)2", (Span("a ", 3.0), Span("b", 2.0))),
        ("gato.attend(++) (b c).attend( 1.5 )", (Span("gato ", 1.21), Span("b c", 1.5))),
        ("x-ray C\\+\\+ (a\\=b)2", (Span("x-ray C++ "), Span("a=b", 2.0))),
        ('("a", "b").and()', (Span("a"), Break(), Span("b"))),
        ('("a", "(b)1.2").and(1, 0.5)', (Span("a"), Break(), Span("b", 0.6))),
        ('("a+", "b").blend(1, .5)', (Blend((Part(parse("(a:1.1)")), Part(parse("b"), 0.5))),)),
        ('("a", "b").blend(1, -1, no_normalize)', (Blend((Part(parse("a")), Part(parse("b"), -1.0)), False),)),
        ("a withLora(x, 0.5) b", (Span("a b"),)),
        ("(a)1.5b", (Span("a", 1.5), Span(" b"))),
        ("", ()),
    ],
)
def test_reads_compel(text, nodes):
    assert parse(text, "compel") == Prompt(nodes)


@pytest.mark.parametrize(
    ("syntax", "text", "code", "marked"),
    [
        ("comfy", "a (cat", "unclosed-bracket", "("),
        ("comfy", "a cat)", "stray-bracket", ")"),
        ("comfy", "(a:1,2)", "bad-number", "1,2"),
        ("comfy", "(a: inf)", "bad-number", " inf"),
        ("comfy", "(a:1e400)", "bad-number", "1e400"),
        ("comfy", "(a:)", "bad-number", ":"),
        ("comfy", "a embedding:x.pt b", "embedding", "embedding:x.pt"),
        ("comfy", "a BREAK b", "foreign-syntax", "BREAK"),
        ("comfy", "a <lora:x:1> b", "foreign-syntax", "<lora:x:1>"),
        ("comfy", "(a:1000)", "absurd-weight", "a"),
        ("comfy", "a\ud800b", "broken-character", "\ud800"),
        ("compel", "a (cat", "literal-bracket", "(cat"),
        ("compel", "super(cat)+ a", "literal-bracket", "super(cat)+"),
        ("compel", "a (cat:1.2) b", "foreign-weight", ":1.2)"),
        ("compel", '("a", "b").and(1)', "bad-operator", ").and("),
        ("compel", '("a", "b").and() c', "bad-operator", ").and("),
        ("compel", '("a", "b").blend(x, y)', "bad-operator", ").blend("),
        ("compel", "(a)" + "9" * 400, "bad-number", "9" * 400),
        ("compel", "a,b withLora(x) c", "network-tag", "withLora(x)"),
        ("compel", "(a)1000", "absurd-weight", "a"),
        ("compel", "a" + "+" * 9000, "infinite-weight", "a"),
        ("compel", "a\ud800b", "broken-character", "\ud800"),
    ],
)
def test_says_what_looks_wrong_and_where(syntax, text, code, marked):
    found = [d for d in parse(text, syntax).diagnostics if d.code == code]
    assert found, parse(text, syntax).diagnostics
    assert text[found[0].start : found[0].end] == marked
    if found[0].severity == "warning":
        with pytest.raises(PromptSyntaxError, match="position"):
            parse(text, syntax, strict=True)


@pytest.mark.parametrize(
    ("syntax", "text"),
    [
        ("comfy", "un gato (rojo:1.4), [gris], \\(lit\\) (a:1e1), time 10:30"),
        ("compel", 'un gato++ (rojo y azul)1.3, x-ray "a b"- \\(lit\\). time 10:30'),
        ("compel", '("un gato", "(un perro)1.2").and()'),
    ],
)
def test_ordinary_prompts_have_no_findings(syntax, text):
    assert parse(text, syntax, strict=True).diagnostics == ()


@pytest.mark.parametrize("text", ["a cat.swap(dog)", '(a "cat".swap(dog))', "(a b).swap(c, s_end=0.3) d"])
def test_swap_is_refused_by_name(text):
    with pytest.raises(PromptSyntaxError, match=r"\.swap\(\) at position"):
        parse(text, "compel")


@settings(deadline=None)
@given(TEXTS | st.text(), st.sampled_from(OTHERS))
@example('"a\\"', "compel")
@example("(a\\)", "comfy")
def test_every_string_is_a_prompt_with_exact_positions(text, syntax):
    assume(not (syntax == "compel" and ".swap" in text))
    prompt = parse(text, syntax)
    for span in all_spans(prompt):
        assert len(span.origins) == len(span.text)
        assert (span.start, span.end) == (span.origins[0], span.origins[-1] + 1)
        for character, place in zip(span.text, span.origins, strict=True):
            # A blank that compel puts between two pieces has the place of what stands there.
            assert character in (text[place], "\ufffd") or (syntax == "compel" and character == " ")
    for found in prompt.diagnostics:
        assert 0 <= found.start < found.end <= len(text), found


def tried(prompt: Prompt, target: str) -> tuple[str, str]:
    """The prompt written in `target`, or why it cannot be."""
    try:
        return prompt.render(target), ""
    except PromptSyntaxError as refused:
        return "", str(refused)


@settings(deadline=None)
@given(TEXTS, st.sampled_from(sorted(SYNTAXES)), st.sampled_from(["a1111", "comfy"]))
@example("a\\(b)", "comfy", "comfy")
@example("(a\\:1.2)(b)", "a1111", "comfy")
def test_converting_keeps_every_word_and_weight(text, source, target):
    assume(not (source == "compel" and ".swap" in text))
    prompt = parse(text, source)
    written, refused = tried(prompt, target)
    if refused:
        assert target == "comfy" or isinstance(prompt.nodes[0], Blend), refused
        assert not prompt.is_plain or any(isinstance(node, Break) for node in prompt.nodes), refused
        return
    assert written == convert(text, source, target)
    assert parse(written, target) == prompt


@settings(deadline=None)
@given(TEXTS, st.sampled_from(sorted(SYNTAXES)))
@example("(a\\\\) (b\\\\c)", "a1111")
@example("(cat:1.2), (dog:1.3).", "a1111")
@example("C++ withLora (x:1.2)", "a1111")
@example("a BREAK (b\\\\) BREAK", "a1111")
@example("\\+b \\\\+", "comfy")
def test_converting_to_compel_keeps_all_but_blanks(text, source):
    assume(not (source == "compel" and ".swap" in text))
    prompt = parse(text, source)
    written, refused = tried(prompt, "compel")
    if refused:
        assert any(what in refused for what in ("inside a word", "negative", "AND", "alternation", "schedules"))
        return
    assert visible(parse(written, "compel")) == visible(prompt), written


@settings(deadline=None)
@example(Prompt((Span("0,0-"),)))
@given(PROMPTS)
def test_prompts_made_in_code_are_written_in_all_three(prompt):
    assert parse(prompt.render("a1111")) == prompt
    if not any(isinstance(node, Break) for node in prompt.nodes):
        assert parse(prompt.render("comfy"), "comfy") == prompt
    written, refused = tried(prompt, "compel")
    assert refused or visible(parse(written, "compel")) == visible(prompt), written


@pytest.mark.parametrize(
    ("text", "source", "target", "written"),
    [
        ("un (gato:1.3) [rojo]", "a1111", "comfy", "un (gato:1.3) (rojo:0.9090909090909091)"),
        ("((a:1.2):1.5)", "a1111", "comfy", "(a:1.8)"),
        ("((a:1.2):1.5)", "comfy", "a1111", "(a:1.2)"),
        ("un gato++, (un sol)1.3", "compel", "a1111", "un (gato:1.21), (un sol:1.3)"),
        ("un (gato:1.21), sol", "a1111", "compel", "un (gato)1.21, sol"),
        ("a BREAK (b c:2)", "a1111", "compel", '("a", "(b c)2.0").and()'),
        ('("a", "b").and()', "compel", "a1111", "a BREAK b"),
        ("C++ (x=1:2)", "comfy", "compel", "C\\+\\+ (x\\=1)2.0"),
        ("[x] BREAK", "comfy", "a1111", "\\[x\\] B\\REAK"),
        ("[a:b:0.5] AND c :0.7", "a1111", "a1111", "[a:b:0.5] AND c :0.7"),
        ("(a:0.0000001)", "a1111", "compel", "(a)0.0000001"),
    ],
)
def test_converts(text, source, target, written):
    assert promptattn.convert(text, source, target) == written


@pytest.mark.parametrize(
    ("text", "source", "target", "named"),
    [
        ("[a:b:3]", "a1111", "comfy", "schedules"),
        ("[a|b]", "a1111", "compel", "alternation"),
        ("a AND b", "a1111", "comfy", "AND"),
        ("a AND b", "a1111", "compel", "AND"),
        ("a BREAK b", "a1111", "comfy", "BREAK"),
        ('("a", "b").and()', "compel", "comfy", "BREAK"),
        ('("a", "b").blend(1, 2)', "compel", "a1111", r"\.blend\(\)"),
        ('("a", "b").blend(1, 2)', "compel", "comfy", r"\.blend\(\)"),
        ("(a:-1)", "a1111", "compel", "negative weight"),
        ("(fe:1.2)male", "a1111", "compel", "inside a word"),
    ],
)
def test_what_a_syntax_cannot_say_is_named(text, source, target, named):
    with pytest.raises(PromptSyntaxError, match=named):
        convert(text, source, target)


@pytest.mark.parametrize("call", [lambda: convert("a", "a1111", "x"), lambda: convert("a", "x", "a1111")])
def test_unknown_syntaxes_name_what_there_is(call):
    with pytest.raises(ConfigError, match="no prompt syntax 'x'; there is: a1111, comfy, compel"):
        call()


@pytest.mark.parametrize("syntax", OTHERS)
@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000 + "a" + ")" * 10_000,
        "(" * 10_000 + "a" + ":2)" * 10_000,
        "(" * 10_000 + "a" + ")1.1" * 10_000,
        "(" * 10_000,
        "(a " * 10_000,
        ")" * 10_000 + "(" * 10_000,
        "( (a) = " * 5_000,
        '"' * 10_000,
        '"(a' * 5_000,
        '("a", ' * 5_000 + ").and()",
        ":" * 10_000,
        "a+-" * 10_000,
        "\\" * 10_000 + "(",
        "a " * 50_000,
    ],
)
def test_hostile_text_is_read_in_a_moment(text, syntax):
    start = time.process_time()
    parse(text, syntax)
    assert time.process_time() - start < 5  # about 0.3 s; a quadratic reader takes minutes
