"""`promptattn app` where it cannot start, and what it says."""

import importlib.util
import os
import signal
import socket
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from promptattn.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["app", *arguments])


def test_without_gradio_the_extra_is_named(monkeypatch):
    found = importlib.util.find_spec
    # The package's own name for the module is the command in it.
    monkeypatch.setattr(
        sys.modules["promptattn.cli.page"], "find_spec", lambda name: None if name == "gradio" else found(name)
    )
    result = run()
    assert result.exit_code == 2
    assert 'pip install "promptattn[app]"' in " ".join(result.output.split())


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(sys.modules["promptattn.cli.page"], "find_spec", lambda name: object())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = run("--port", port)
    assert result.exit_code == 2
    assert f"127.0.0.1:{port} cannot be served on" in " ".join(result.output.split())
    assert "promptattn.app.serving" not in sys.modules or importlib.util.find_spec("gradio")


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("192.0.2.1", "192.0.2.1 cannot be served on: Cannot assign requested address; choose another --host."),
        ("::1", "::1 is an IPv6 address, which gradio does not serve on; choose one of IPv4 as --host."),
    ],
)
def test_a_host_that_cannot_be_is_told_before_anything_is_loaded(monkeypatch, host, told):
    monkeypatch.setattr(sys.modules["promptattn.cli.page"], "find_spec", lambda name: object())
    result = run("--host", host)
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())


def test_a_model_that_is_none_is_told_when_the_app_is_started():
    pytest.importorskip("gradio", reason="gradio is not installed")
    result = run("--model", "shapess")
    assert result.exit_code == 1
    assert "there is no model 'shapess'" in result.output
    assert "did you mean shapes?" in " ".join(result.output.split())


def test_sigterm_leaves_nothing_behind(monkeypatch, tmp_path):
    folder = tmp_path / "served"

    @contextmanager
    def serving(models, **more):
        folder.mkdir()
        try:
            yield "http://127.0.0.1:7860/"
        finally:
            folder.rmdir()

    page = sys.modules["promptattn.cli.page"]
    monkeypatch.setattr(page, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "promptattn.app.serving", SimpleNamespace(serving=serving))
    monkeypatch.setattr(page, "_until_interrupted", lambda: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)  # without ours, the test itself goes on
    try:
        result = run()
        assert signal.getsignal(signal.SIGTERM).__name__ == "<lambda>"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert result.exit_code == 143
    assert result.stderr == "stopped: by SIGTERM; what the page held is removed.\n"
    assert not folder.exists()


@pytest.mark.parametrize("wrong", [("--port", "0"), ("--queue", "0"), ("--max-upload-mb", "0")])
def test_numbers_that_cannot_be_are_refused(wrong):
    assert run(*wrong).exit_code == 2


def test_the_help_has_examples():
    said = run("--help").output
    assert "promptattn app --model sdxl" in said
    assert "0.0.0.0" in said
