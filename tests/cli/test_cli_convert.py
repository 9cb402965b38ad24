"""`promptattn convert`: a pipe from one syntax to another."""

import json

import pytest
from typer.testing import CliRunner

from promptattn import parse
from promptattn.cli import app


@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        ("comfy", "a1111", "a (red (very:1.3) cat:1.2)"),
        ("a1111", "comfy", "un ((gato) rojo:1.3) [azul]"),
        ("compel", "a1111", "un gato++ (muy rojo)1.3"),
        ("a1111", "compel", "un (ratón:1.25)"),
        ("a1111", "a1111", "(a:-0.5) \\(b\\)"),
    ],
)
def test_stdout_is_the_converted_prompt_and_nothing_else(command, source, target, text):
    done = command("convert", "--from", source, "--to", target, text)
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("\n")
    assert done.stderr == ""
    assert parse(done.stdout[:-1], target) == parse(text, source)


def test_a_prompt_from_a_pipe_keeps_its_line_breaks():
    done = CliRunner().invoke(app, ["convert", "-f", "comfy", "-t", "comfy", "-"], input="a (red:1.2)\ncat\n")
    assert done.exit_code == 0, done.output
    assert parse(done.stdout[:-1], "comfy") == parse("a (red:1.2)\ncat", "comfy")


def test_what_looks_like_a_mistake_is_told_on_stderr_with_a_caret(command):
    done = command("convert", "--from", "a1111", "--to", "comfy", "a ((cat")
    assert done.exit_code == 0, done.output
    assert "^^" in done.stderr
    assert "never closed" in " ".join(done.stderr.split())
    assert parse(done.stdout[:-1], "comfy") == parse("a ((cat", "a1111")


def test_json_holds_both_and_the_findings(command):
    done = command("convert", "--from", "a1111", "--to", "comfy", "a ((cat", "--json")
    found = json.loads(done.stdout)
    assert (found["from"], found["to"], found["prompt"]) == ("a1111", "comfy", "a ((cat")
    assert parse(found["converted"], "comfy") == parse("a ((cat", "a1111")
    assert [each["start"] for each in found["findings"]] == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "a1111", "--to", "comfy", "a [cat:dog:0.5]"], "comfy"),
        (["--from", "compel", "--to", "a1111", '("a cat", "a dog").blend(1, 0.5)'], "blend"),
        (["--from", "a1111", "--to", "compel", "a cat AND a dog"], "AND"),
        (["--from", "latin", "--to", "comfy", "a cat"], "latin"),
        (["--from", "comfy", "--to", "latin", "a cat"], "latin"),
    ],
)
def test_what_cannot_be_said_is_an_error_and_prints_nothing(command, arguments, message):
    done = command("convert", *arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert message.lower() in " ".join(done.stderr.split()).lower()
    assert "Traceback" not in done.stderr
