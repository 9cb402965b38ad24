"""Help that is true: printed examples run, Tab completes in every shell, and options are said once."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from typer.main import get_command

from promptattn import __version__
from promptattn.cli import app

COMMANDS = get_command(app).commands
# What a stranger would have beside the examples.
FILES = {
    "prompts.txt": "a red cat\n",
    "prompts.csv": 'prompt,seed\n"a (red:1.4) cat",3\nun gato,4\n',
}


def examples(name):
    """The examples of a command's help, as typed."""
    found = re.findall(rf"`(promptattn {name} [^`]+)`", " ".join(COMMANDS[name].help.split()))
    return [shlex.split(example)[1:] for example in found]


def test_printed_examples_run(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (made,) = examples("generate")
    for arguments in [
        made,
        *examples("sweep"),
        *examples("export"),
        *examples("batch"),
        *examples("explain"),
        *examples("tokens"),
        *examples("convert"),
        *examples("models"),
        *examples("doctor"),
    ]:
        few = ["--steps", "1", "--force"] if arguments[0] in ("generate", "sweep", "batch") else []
        done = command(*arguments, *few)
        assert done.exit_code == 0, (arguments, done.output)
    for folder in ("plain", "strong"):
        shutil.copytree("out", folder)
    for arguments in examples("compare"):
        assert command(*arguments).exit_code == 0


def test_every_command_has_an_example_to_run():
    found = {name: examples(name) for name in COMMANDS if name != "doctor"}
    assert all(found.values()), found


@pytest.mark.parametrize("name", ["-h", "--help"])
def test_help_is_asked_for_in_two_ways(command, name):
    assert "generate" in command(name).output
    assert "--seed" in command("generate", name).output


@pytest.mark.parametrize("name", ["-V", "--version"])
def test_version(command, name):
    done = command(name)
    assert (done.exit_code, done.output) == (0, f"promptattn {__version__}\n")


def completed(shell, typed):
    """What Tab offers in a shell, asked as the script does that `--install-completion` writes for it."""
    asked = {
        "bash": {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - (not typed.endswith(" ")))},
        "zsh": {"_TYPER_COMPLETE_ARGS": typed},
        "fish": {"_TYPER_COMPLETE_ARGS": typed, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    code = "from promptattn.cli import app; app(prog_name='promptattn')"
    env = {**os.environ, **asked, "_PROMPTATTN_COMPLETE": f"complete_{shell}"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True).stdout


@pytest.mark.parametrize("name", ["generate", "export"])
def test_each_option_is_one_line_to_complete(name):
    lines = completed("fish", f"promptattn {name} --").splitlines()
    assert len(lines) > 10
    assert all(line.startswith("--") for line in lines)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("promptattn swe", "sweep"),
        ("promptattn generate --model shapes-", "shapes-dit"),
        ("promptattn sweep --sampler Heun", "HeunDiscreteScheduler"),
        ("promptattn batch --set weighting.norm", "weighting.normalisation="),
        ("promptattn convert --to comp", "compel"),
    ],
)
def test_values_are_completed_in_every_shell(shell, typed, offered):
    assert offered in completed(shell, typed)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_of_completion_call_promptattn(shell):
    code = "from promptattn.cli import app; app(prog_name='promptattn')"
    env = {**os.environ, "_PROMPTATTN_COMPLETE": f"source_{shell}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert f"_PROMPTATTN_COMPLETE=complete_{shell}" in done.stdout
    if found := shutil.which(shell):
        subprocess.run([found, "-n"], input=done.stdout, text=True, check=True)
