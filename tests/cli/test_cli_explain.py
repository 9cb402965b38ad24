"""`promptattn explain` and `promptattn tokens` on the model in the package."""

import json

import pytest

from promptattn import console


def words(done):
    return " ".join(done.output.split())


def test_explain_shows_tree_tokens_and_notes(command):
    done = command("explain", "un (gato:1.4) ratón ((x", "-n", "(dog:0.5)", "--steps", 8)
    assert done.exit_code == 0, done.output
    for expected in ("“gato” x 1.4", "ratón", "x 3.", "negative prompt, text_encoder", "attention:", "^^"):
        assert expected in words(done)


def test_a_narrow_terminal_has_whole_words_and_weights(command, monkeypatch):
    monkeypatch.setattr(console.out, "width", 40)
    for name, weight in (("explain", "x 3.92"), ("tokens", "1.4")):
        lines = command(name, "un (desconocido:1.4) gato").output.splitlines()
        assert any("desconocido" in line and weight in line for line in lines)
        assert max(map(len, lines)) <= 40


def test_json_is_all_there_is_on_stdout(command):
    for arguments in (["explain", "un (gato:1.4) ratón ((x"], ["tokens", "un (gato:1.4) ratón ((x"]):
        done = command(*arguments, "--json")
        assert done.exit_code == 0
        assert "gato" in json.dumps(json.loads(done.stdout))
    done = command("tokens", "un ((x", "--json")
    assert "never closed" in " ".join(done.stderr.split())


def test_method_and_place_are_those_of_generate(command):
    found = json.loads(command("explain", "a (cat:1.4)", "--method", "comfy", "--json").stdout)
    assert found["method"]["name"] == "comfy"
    found = json.loads(command("explain", "a (cat:1.4)", "--where", "both", "--strength", "exact", "--json").stdout)
    (token,) = [
        token
        for token in found["prompt"]["parts"][0]["moments"][0]["texts"][0]["encoders"][0]["tokens"]
        if token["word"] == "cat"
    ]
    assert (token["denoiser"], token["text_encoder"]) == (1.4, 1.4)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["explain", "a cat", "--steps", "0"], 2, "--steps must be at least 1"),
        (["explain", "a cat", "--method", "comfi"], 2, "did you mean comfy"),
        (["explain", "a cat", "--method", "comfy", "--where", "text"], 2, "where"),
        (["explain", "a cat", "--syntax", "latin"], 2, "latin"),
        (["explain", "a cat", "--model", "no-such-model"], 1, "no model"),
        (["tokens", "a cat", "--syntax", "latin"], 2, "latin"),
    ],
)
def test_mistakes_are_one_sentence(command, arguments, code, message):
    done = command(*arguments)
    assert done.exit_code == code, done.output
    assert message in words(done)
    assert "Traceback" not in done.output
