"""Ctrl+Up and Ctrl+Down, as pure functions, in node."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import promptattn

KEYS = Path(promptattn.__file__).parent / "app" / "keys.js"
NODE = shutil.which("node")

# text, with the selection between bars -> steps -> text after, likewise
MOVES = [
    ("a |red| cat", 1, "a (|red|:1.05) cat"),
    ("a |red| cat", -1, "a (|red|:0.95) cat"),
    ("a r||ed cat", 1, "a (|red|:1.05) cat"),
    ("a red|| cat", 1, "a (|red|:1.05) cat"),
    ("a |re|d cat", 1, "a (|red|:1.05) cat"),
    ("a| red |cat", 1, "a (|red|:1.05) cat"),
    ("a |red ca|t", 2, "a (|red cat|:1.1)"),
    ("a (|red|:1.05) cat", 1, "a (|red|:1.1) cat"),
    ("a (|red|:1.05) cat", -1, "a |red| cat"),
    ("a |(red:1.05)| cat", 1, "a (|red|:1.1) cat"),
    ("a (|red|) cat", 1, "a (|red|:1.15) cat"),
    ("a (|red|:0.05) cat", -1, "a (|red|:0) cat"),
    ("a (|red|:0) cat", -1, "a (|red|:-0.05) cat"),
    ("a (|red|:1.37) cat", 1, "a (|red|:1.42) cat"),
    (r"a \(|red|\) cat", 1, r"a \((|red|:1.05)\) cat"),
    ("a (|red| cat:1.2)", 1, "a ((|red|:1.05) cat:1.2)"),
    ("un |ratón| gris", 1, "un (|ratón|:1.05) gris"),
    ("a  ||  cat", 1, "a  ||  cat"),
    ("||", 1, "||"),
]


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """Every move at once: node takes longer to start than all of them."""
    if NODE is None:
        pytest.skip("node is not installed")
    module = tmp_path_factory.mktemp("keys") / "keys.mjs"
    module.write_text(KEYS.read_text(encoding="utf-8"), encoding="utf-8")
    script = (
        f"import {{ moved }} from {json.dumps(module.as_uri())};"
        f"const calls = {json.dumps([_call(before, steps) for before, steps, _ in MOVES])};"
        "console.log(JSON.stringify(calls.map((call) => moved(...call))));"
    )
    ran = subprocess.run(
        [NODE, "--input-type=module", "-e", script], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(ran.stdout)


def _call(marked, steps):
    start, end = marked.index("|"), marked.rindex("|") - 1
    return [marked.replace("|", ""), start, end, steps]


@pytest.mark.parametrize("number", range(len(MOVES)), ids=[f"{before} {steps:+}" for before, steps, _ in MOVES])
def test_a_weight_is_moved(moved, number):
    found = moved[number]
    text = found["text"]
    marked = text[: found["start"]] + "|" + text[found["start"] : found["end"]] + "|" + text[found["end"] :]
    assert marked == MOVES[number][2]
