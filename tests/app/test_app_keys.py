"""The weight under a selection, moved: as pure functions, in node."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import promptattn

WEIGHTS = Path(promptattn.__file__).parent / "app" / "weights.js"
NODE = shutil.which("node")

# text, with the selection between bars -> steps -> text after, likewise
MOVES = [
    ("a |red| cat", 1, "a (|red|:1.05) cat"),
    ("a |red| cat", -1, "a (|red|:0.95) cat"),
    ("a r||ed cat", 1, "a (|red|:1.05) cat"),
    ("a red|| cat", 1, "a (|red|:1.05) cat"),
    ("a |re|d cat", 1, "a (|red|:1.05) cat"),
    ("a| red |cat", 1, "a (|red|:1.05) cat"),
    ("a |red, |cat", 1, "a (|red|:1.05), cat"),
    ("a |red ca|t", 2, "a (|red cat|:1.1)"),
    ("un |ratón| gris", 1, "un (|ratón|:1.05) gris"),
    ("a  ||  cat", 1, "a  ||  cat"),
    ("||", 1, "||"),
    # a bracket with a weight
    ("a (|red|:1.05) cat", 1, "a (|red|:1.1) cat"),
    ("a (|red|:1.05) cat", -1, "a |red| cat"),
    ("a |(red:1.05)| cat", 1, "a (|red|:1.1) cat"),
    ("a (|red|) cat", 1, "a (|red|:1.15) cat"),
    ("a (|red|:0.05) cat", -1, "a (|red|:0) cat"),
    ("a (|red|:0) cat", -1, "a (|red|:-0.05) cat"),
    ("a (|red|:1.37) cat", 1, "a (|red|:1.42) cat"),
    ("a (red cat:1||.2) b", 1, "a (|red cat|:1.25) b"),
    ("a (red cat:|1.2|) b", 1, "a (|red cat|:1.25) b"),
    ("a (re|d cat:1|.2) b", 1, "a (|red cat|:1.25) b"),
    ("a ||(red cat:1.2) b", 1, "a (|red cat|:1.25) b"),
    ("a (red cat:1.2)|| b", 1, "a (|red cat|:1.25) b"),
    ("a ( |red| :1.2) b", 1, "a (|red|:1.25) b"),
    # brackets in brackets, and beside one another
    ("a (|red| cat:1.2)", 1, "a ((|red|:1.05) cat:1.2)"),
    ("a ((|red|:1.05) cat:1.2)", -1, "a (|red| cat:1.2)"),
    ("a ((|red|))", 1, "a ((|red|:1.15))"),
    ("a |(red (cat:1.3) x:1.2)| b", 1, "a (|red (cat:1.3) x|:1.25) b"),
    ("a (|red:1.2) (cat|:1.3) b", 1, "a (|(red:1.2) (cat:1.3)|:1.05) b"),
    ("a (|red:1.2) big c|at", 1, "a (|(red:1.2) big cat|:1.05)"),
    # what looks like a bracket or a number and is none
    (r"a \(|red|\) cat", 1, r"a \((|red|:1.05)\) cat"),
    ("a [|red|] cat", 1, "a [(|red|:1.05)] cat"),
    ("a [|red|:blue:0.5] cat", 1, "a [(|red|:1.05):blue:0.5] cat"),
    ("a [red:blue:0||.5] cat", 1, "a [red:blue:0||.5] cat"),
    ("a (cat:[1.1:1.4:0.5||])", 1, "a (cat:[1.1:1.4:0.5||])"),
    ("a (red|| cat", 1, "a ((|red|:1.05) cat"),
    ("<lora:|x|:0.8> a", 1, "<lora:|x|:0.8> a"),
    ("a |3| b", 1, "a (|3|:1.05) b"),
]
IN_COMPEL = [
    ("a |red| cat", 1, "a (|red|)1.05 cat"),
    ("a (|red|)1.05 cat", -1, "a |red| cat"),
    ("a (|red|)1.05 cat", 1, "a (|red|)1.1 cat"),
    ("a (|red cat|) b", 1, "a (|red cat|)1.05 b"),
    ("a (|red cat|)++ b", 1, "a (|red cat|)1.26 b"),
    ("a |red|+ cat", 1, "a (|red|)1.15 cat"),
    ("a |red|-- cat", 1, "a (|red|)0.86 cat"),
    ("a (red cat)1||.2 b", 1, "a (|red cat|)1.25 b"),
    ("a (|red|)0.02 b", -1, "a (|red|)0 b"),
]
ALL = [*((*move, "a1111") for move in MOVES), *((*move, "compel") for move in IN_COMPEL)]


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """Every move at once: node takes longer to start than all of them."""
    if NODE is None:
        pytest.skip("node is not installed")
    module = tmp_path_factory.mktemp("keys") / "weights.mjs"
    module.write_text(WEIGHTS.read_text(encoding="utf-8"), encoding="utf-8")
    calls = [[*_selected(before), steps, syntax] for before, steps, _, syntax in ALL]
    script = (
        f"import {{ moved }} from {json.dumps(module.as_uri())};"
        f"console.log(JSON.stringify({json.dumps(calls)}.map((call) => moved(...call))));"
    )
    ran = subprocess.run(
        [NODE, "--input-type=module", "-e", script], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(ran.stdout)


def _selected(marked):
    return [marked.replace("|", ""), marked.index("|"), marked.rindex("|") - 1]


@pytest.mark.parametrize("number", range(len(ALL)), ids=[f"{syntax} {text} {by:+}" for text, by, _, syntax in ALL])
def test_a_weight_is_moved(moved, number):
    before, _, after, _ = ALL[number]
    change = moved[number]
    if change is None:
        assert before == after
        return
    text, _, _ = _selected(before)
    text = text[: change["from"]] + change["written"] + text[change["to"] :]
    assert f"{text[: change['start']]}|{text[change['start'] : change['end']]}|{text[change['end'] :]}" == after


@pytest.mark.parametrize(
    ("after", "syntax"), sorted({(after, syntax) for _, _, after, syntax in ALL if "lora" not in after})
)
def test_what_is_written_is_a_weight_to_the_syntax(after, syntax):
    from promptattn.prompt import parse

    prompt = parse(after.replace("|", ""), syntax=syntax)
    assert [each.code for each in prompt.diagnostics if each.code != "unclosed-bracket"] == []
