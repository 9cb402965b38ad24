"""Prompts that are typed rather than piped in: what is waited for is said."""

import io

import pytest

from promptattn.cli.written import written


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_who_is_to_type_is_told(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Terminal("un gato\n"))
    assert written("-") == "un gato"
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "info: type the prompt; Ctrl+D at the beginning of a line ends it.\n"


@pytest.mark.parametrize("prompt", ["-", "a cat"])
def test_nothing_is_said_of_what_is_piped_in_or_given(monkeypatch, capsys, prompt):
    monkeypatch.setattr("sys.stdin", io.StringIO("a cat"))
    assert written(prompt) == "a cat"
    assert capsys.readouterr() == ("", "")
