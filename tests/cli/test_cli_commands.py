"""What all commands have in common: help, completion, JSON, estimates, and what is shown to whom."""

import io
import json
import os
import subprocess
import sys

import pytest
from rich.console import Console
from typer.main import get_command

from promptattn import console
from promptattn.cli import app, running
from promptattn.memory import readable

COMMANDS = sorted(get_command(app).commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_verbose(name, command):
    done = command(name, "--help")
    assert done.exit_code == 0
    assert "Example" in done.output
    assert f"promptattn {name}" in " ".join(done.output.split())
    assert "--verbose" in done.output


def test_exit_codes_are_in_the_help(command):
    assert "0 done, 1 failed, 2 wrongly asked for" in " ".join(command("--help").output.split())


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("promptattn bat", {"batch"}),
        ("promptattn generate --method comf", {"comfy", "comfy++"}),
        ("promptattn explain x --model shapes-", {"shapes-dit"}),
        ("promptattn batch p.txt --device c", {"cpu", "cuda"}),
    ],
)
def test_tab_completes_commands_and_values_without_torch(typed, offered):
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\n"
        "from promptattn.cli import app\n"
        "app(prog_name='promptattn')\n"
    )
    asked = {
        "_PROMPTATTN_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked})
    assert set(done.stdout.split()) == offered, done.stderr
    assert done.stderr.split()[-1] == "False"


def test_generate_as_json_says_files_words_and_estimate(command, tmp_path):
    small = ["--steps", 3, "--height", 32, "--width", 32]
    done = command("generate", "a (red:1.4) cat", "--out", tmp_path / "o", "--json", *small)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    (run,) = said["runs"]
    assert run["images"] == ["image.png"]
    assert [(word["word"], word["weight"]) for word in run["words"][0]] == [("a", 1.0), ("red", 1.4), ("cat", 1.0)]
    assert run["settings"]["num_inference_steps"] == 3
    estimate = said["estimate"]
    parts = ("parameters_bytes", "activations_bytes", "maps_bytes")
    assert estimate["memory_bytes"] == sum(estimate[part] for part in parts)
    assert all(estimate[part] > 0 for part in parts)


def test_sweep_as_json_is_its_description(command, tmp_path):
    small = ["--steps", 2, "--height", 32, "--width", 32, "--no-maps"]
    done = command("sweep", "a (red:{1,2}) cat", "--out", tmp_path / "o", "--json", *small)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["folder"] == str(tmp_path / "o")
    assert len(said["cells"]) == 2
    assert said["estimate"]["calls"] == 1


def test_only_a_long_run_is_estimated_in_words(command, tmp_path, monkeypatch):
    call = ["generate", "a cat", "--steps", 2, "--height", 32, "--width", 32, "--no-maps", "--force"]
    assert "estimate:" not in command(*call, "--out", tmp_path / "o").output
    monkeypatch.setattr(running, "LONG", 0.0)
    told = " ".join(command(*call, "--out", tmp_path / "o").output.split())
    assert "estimate: about " in told
    assert "(2 steps of " in told
    assert "parameters" in told


def test_progress_is_one_line_for_a_person_and_nothing_else(monkeypatch):
    for terminal, shown, expected in ((True, True, True), (True, False, False), (False, True, False)):
        stream = io.StringIO()
        watched = Console(file=stream, force_terminal=terminal, width=100, highlight=False)
        monkeypatch.setattr(console, "err", watched)
        with console.progress(shown=shown) as bar:
            bar.stage("Generating")
            bar.step(3, 10)
        printed = stream.getvalue()
        assert ("Generating ..." in printed and "3/10 steps" in printed and "MB" in printed) == expected
        assert bool(printed) == expected


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 KB"), (999_600, "1 MB"), (4.96e9, "5.0 GB"), (2e12, "2000.0 GB")],
)
def test_sizes_for_people(size, text):
    assert readable(size) == text
