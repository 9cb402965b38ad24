"""The README is true: its code prints what it says, its commands and links exist."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from promptattn.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_python_block_prints_what_the_text_block_shows(tmp_path, monkeypatch, capsys):
    (code,), (printed,) = blocks("python"), blocks("text")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out == printed
    assert (tmp_path / "cat.png").is_file()


def test_the_first_picture_and_every_link_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links[0].endswith(".png")
    for link in links:
        assert link.startswith("http") or (ROOT / link).exists(), link


@pytest.mark.parametrize(
    "line", [line for block in blocks("sh") for line in block.splitlines() if "promptattn " in line]
)
def test_commands_name_options_that_exist(line):
    import shlex

    words = shlex.split(line.split("&&")[-1].strip())
    assert words[0] == "promptattn"
    command = get_command(app).commands[words[1]]
    known = {name for option in command.params for name in option.opts}
    assert {word for word in words[2:] if word.startswith("--")} <= known


def test_the_two_commands_install_with_the_tested_versions():
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("pip install")]
    assert len(commands) == 2
    assert all("-c constraints.txt" in command for command in commands)
    assert '".[test]" && pytest' in commands[1]
