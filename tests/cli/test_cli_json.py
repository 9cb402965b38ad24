"""With `--json` standard output is one JSON document, whatever happens."""

import json

import pytest


@pytest.mark.parametrize(
    ("arguments", "kind", "code", "message"),
    [
        (["generate", "x", "--steps", "abc"], "BadParameter", 2, "'abc' is not a whole number"),
        (["generate", "x", "--guidance", "abc"], "BadParameter", 2, "'abc' is not a number"),
        (["generate", "x", "--stepz", "3"], "NoSuchOption", 2, "--steps"),
        (["genrate"], "UsageError", 2, "generate"),
        (["batch"], "MissingParameter", 2, "prompts"),
        (["sweep", "a cat"], "ConfigError", 2, "nothing is swept"),
        (["explain", "a cat", "--steps", "0"], "ConfigError", 2, "--steps must be at least 1"),
        (["explain", "a cat", "--syntax", "a111"], "ConfigError", 2, "did you mean a1111?"),
        (["tokens", "a cat", "--model", "shapse"], "UnsupportedModelError", 1, "did you mean shapes?"),
        (["convert", "a cat", "--from", "a111"], "ConfigError", 2, "did you mean a1111?"),
        (["export", "nowhere"], "ExportError", 1, "nowhere"),
        (["compare", "nowhere", "there"], "ExportError", 1, "nowhere"),
    ],
)
def test_an_error_is_one_too(command, arguments, kind, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command(*arguments, "--json")
    assert done.exit_code == code, done.output
    error = json.loads(done.stdout)["error"]
    assert (error["kind"], error["exit_code"]) == (kind, code)
    assert message in error["message"]
    assert done.stderr  # people are told too
    assert command(*arguments).stdout == ""
    assert not list(tmp_path.iterdir())


def test_what_was_written_is_told(command, tmp_path):
    small = ["--steps", 1, "--height", 32, "--width", 32]
    plain, red, page = tmp_path / "plain", tmp_path / "red", tmp_path / "red.html"
    assert command("generate", "a red cat", "--out", plain, *small).exit_code == 0
    assert json.loads(command("export", plain, "--out", red, "--json").stdout) == {"folder": str(red)}
    assert json.loads(command("compare", plain, red, "--out", page, "--json").stdout) == {"file": str(page)}
    assert page.is_file()
