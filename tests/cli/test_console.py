"""What the commands show where a terminal is narrow, not UTF-8, or its user presses Ctrl+C."""

import errno
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import typer
from rich.console import Console

from promptattn import console
from promptattn.console import INTERRUPTED, emit, printable, told
from promptattn.errors import ConfigError, ExportError, PromptSyntaxError
from promptattn.memory import used


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


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("steps=0 is none."), 2, "error: steps=0 is none."),
        (PromptSyntaxError("no prompt."), 2, "error: no prompt."),
        (ExportError("no room."), 1, "error: no room."),
        (ExportError("replace it with --force (force=True)."), 1, "error: replace it with --force.\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: [Errno 28] No space left on device."),
        (MemoryError(), 1, "--dtype bfloat16"),
        (ImportError("libtorch_cpu.so: failed to map segment"), 1, "to map segment; `promptattn doctor` tells"),
        (ZeroDivisionError("by zero"), 1, "error: ZeroDivisionError: by zero\nThis was not foreseen"),
        (KeyboardInterrupt(), INTERRUPTED, "stopped: by Ctrl+C"),
    ],
)
def test_every_failure_is_a_sentence_an_exit_code_and_json_if_asked_for(capsys, error, code, said, verbose):
    for as_json in (False, True):
        with pytest.raises(typer.Exit) as ended, told(verbose, as_json=as_json):
            raise error
        assert ended.value.exit_code == code
        printed = capsys.readouterr()
        assert said in printed.err
        foreseen = not isinstance(error, ZeroDivisionError)
        assert ("Traceback" in printed.err) == (not foreseen or (verbose and code != INTERRUPTED))
        if not as_json:
            assert printed.out == ""
            continue
        told_of = json.loads(printed.out)["error"]
        assert (told_of["kind"], told_of["exit_code"]) == (type(error).__name__, code)
        assert told_of["message"] in printed.err


def test_nobody_who_reads_on_is_no_error_to_tell_of(capsys):
    with pytest.raises(BrokenPipeError), told(False, as_json=True):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert capsys.readouterr() == ("", "")


def test_a_full_disk_behind_stdout_is_one_sentence():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    for command in (["convert", "--from", "comfy", "a cat"], ["convert", "--from", "comfy", "a cat", "--json"]):
        with open("/dev/full", "w") as full:
            run = [sys.executable, "-m", "promptattn.cli", *command]
            done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1
        assert done.stderr == "error: [Errno 28] No space left on device.\n"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_progress_is_one_line_however_narrow_the_terminal(monkeypatch, width):
    stream = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=stream, force_terminal=True, width=width, no_color=True))
    with console.progress() as bar:
        bar.stage("Loading stabilityai/stable-diffusion-xl-base-1.0")
        bar.stage("Generating seed 1234")
        bar.step(10, 50)
        bar.step(11, 50)
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue()))
    last = [line for line in lines if line.strip()][-1]
    assert re.fullmatch(r"Generati.* 11/50 steps \d:\d\d:\d\d \d+(\.\d)? [MG]B *", last)
    assert len(last) <= width
    assert "\x1b[1A" in stream.getvalue()  # one line up, to wipe the one that there is
    assert "\x1b[2A" not in stream.getvalue()


@pytest.mark.parametrize("torch", [ModuleType("torch"), SimpleNamespace(cuda=ModuleType("torch.cuda"))])
def test_memory_is_told_while_torch_is_still_being_imported(monkeypatch, torch):
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert used() > 1_000_000


def test_what_a_terminal_cannot_show_is_escaped(monkeypatch):
    written = in_ascii(monkeypatch)
    printable()
    print("ratón…")
    assert written.getvalue() == rb"rat\xf3n\u2026" + b"\n"


def test_json_is_whole_in_any_locale(monkeypatch):
    written = in_ascii(monkeypatch)
    emit({"word": "ratón 😀"})
    assert json.loads(written.getvalue()) == {"word": "ratón 😀"}
