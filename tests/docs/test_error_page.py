"""docs/errors.md quotes what the program says, word for word."""

import ast
import re
from pathlib import Path

import pytest

from promptattn import errors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
HOLE = "\0"  # what an f-string fills in


def said():
    """Every string of the package, with a hole where something is filled in."""
    for file in (ROOT / "promptattn").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def quoted():
    """What stands in double quotes in the first column of a table."""
    for line in PAGE.splitlines():
        if line.startswith("| ") and not line.startswith("| symptom"):
            yield from re.findall(r'"([^"]+)"', line.split("|")[1])


@pytest.fixture(scope="module")
def everything():
    return "\n".join(said())


@pytest.mark.parametrize("message", dict.fromkeys(quoted()))
def test_each_quoted_message_is_one_that_the_program_gives(message, everything):
    pieces = [re.escape(piece.strip()) for piece in message.split("...")]
    assert re.search("[^\n]*".join(pieces), everything), message


def test_messages_are_found_on_the_page():
    assert len(list(quoted())) > 60


def test_every_class_of_errors_has_its_section():
    headings = [line for line in PAGE.splitlines() if line.startswith("## ")]
    for name in errors.__all__:
        if name not in ("PromptAttnError", "PromptAttnWarning"):
            assert any(f"`{name}`" in heading for heading in headings), name
