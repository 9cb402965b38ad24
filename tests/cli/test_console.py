"""What the commands show where a terminal is narrow, not UTF-8, or its user presses Ctrl+C."""

import io
import json
import sys

import pytest
import typer

from promptattn.console import INTERRUPTED, emit, printable, told


def in_ascii(monkeypatch):
    """Standard output and error as in a locale that knows no accents, and what is written to them."""
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(written, encoding="ascii", write_through=True)
        monkeypatch.setattr(sys, name, stream)
    return written


def test_ctrl_c_is_one_sentence_and_exit_code_130(capsys):
    with pytest.raises(typer.Exit) as ended, told(False):
        raise KeyboardInterrupt
    assert ended.value.exit_code == INTERRUPTED == 130
    assert capsys.readouterr().err.strip().startswith("stopped: by Ctrl+C")


def test_with_v_the_interrupt_itself_goes_on():
    with pytest.raises(KeyboardInterrupt), told(True):
        raise KeyboardInterrupt


def test_what_a_terminal_cannot_show_is_escaped(monkeypatch):
    written = in_ascii(monkeypatch)
    printable()
    print("ratón…")
    assert written.getvalue() == rb"rat\xf3n\u2026" + b"\n"


def test_json_is_whole_in_any_locale(monkeypatch):
    written = in_ascii(monkeypatch)
    emit({"word": "ratón 😀"})
    assert json.loads(written.getvalue()) == {"word": "ratón 😀"}
