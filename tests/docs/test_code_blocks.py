"""Every code block of the README and of docs/ runs, in the order in which it stands, and prints what is shown under it.

The Python and the `promptattn` commands of a page run one after the other in one empty folder, as a reader would run
them. Runs of more than eight steps are cut to three, in which the pictures are poor and everything else is as it is;
the README's Python runs in full in tests/test_readme.py. Of what cannot run here the arguments are checked: scripts
that study or measure for minutes, and blocks that their page marks with a reason on the line before them,
`<!-- not run: why -->`.
"""

import contextlib
import functools
import inspect
import io
import itertools
import re
import shlex
import shutil
import sys
import tomllib
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import diffusers
import pytest
import tiny_pipelines
import torch
import typer
from typer.main import get_command
from typer.testing import CliRunner

import promptattn
import promptattn.sweeps.running
from promptattn.cli import app
from promptattn.errors import PromptAttnWarning

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
KINDS = ("python", "sh", "text", "json", "yaml", "bibtex")
STEPS, MOST = 3, 8
# What a page takes for granted, in small.
SUBJECTS = {"together.md": lambda: {"pipe": tiny_pipelines.sdxl()}}
NAMED = [str(page.relative_to(ROOT)) for page in PAGES]

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<kind>\w*)\n(?P<code>.*?)^```$", flags=re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    kind: str
    code: str
    place: str
    line: int
    reason: str | None

    def commands(self):
        """The lines of a shell block as words, each from its last command on (`pip install ... && promptattn ...`)."""
        for line in self.code.replace("\\\n", " ").splitlines():
            for command in line.split(" && "):
                if words := shlex.split(command, comments=True):
                    yield words


def blocks(page):
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start("kind")) + 1
        yield Block(found["kind"], found["code"], f"{page.name}:{line}", line, found["reason"])


@pytest.fixture
def few_steps(monkeypatch):
    """Pipelines make few steps, and are loaded once."""
    for kind in (diffusers.StableDiffusionPipeline, diffusers.StableDiffusion3Pipeline):
        monkeypatch.setattr(kind, "__call__", _short(kind.__call__))
    own, known = promptattn.load, {}

    def load(source, **options):
        key = str(source), *sorted((name, str(value)) for name, value in options.items())
        if key not in known:
            known[key] = own(source, **options)
        return known[key]

    # Wherever it was imported to.
    for name, module in list(sys.modules.items()):
        if name.startswith("promptattn") and vars(module).get("load") is own:
            monkeypatch.setattr(module, "load", load)


def _short(call):
    @functools.wraps(call)
    def short(self, *args, **kwargs):
        asked = kwargs.get("num_inference_steps", MOST + 1)
        kwargs["num_inference_steps"] = asked if asked <= MOST else STEPS
        return call(self, *args, **kwargs)

    return short


@pytest.mark.parametrize("page", PAGES, ids=NAMED)
def test_blocks_run_in_their_order_and_print_what_is_shown(page, tmp_path, monkeypatch, few_steps):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    names = {"__name__": page.stem, **SUBJECTS.get(page.name, dict)()}
    for block, following in itertools.pairwise([*blocks(page), None]):
        if block.kind == "python" and not block.reason and page != README:
            printed = _python(block, page, names)
            if following is not None and following.kind == "text" and not following.reason:
                assert printed == following.code, block.place
        elif block.kind == "python":
            compile(block.code, block.place, "exec")
        elif block.kind == "sh":
            for words in block.commands():
                _command(words, block)


def _python(block, page, names):
    """What the block prints. Compiled with the page's own line numbers, so that a failure says where it is."""
    code = compile("\n" * block.line + block.code, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptAttnWarning)
        torch.manual_seed(0)
        exec(code, names)
    return printed.getvalue()


def _command(words, block):
    where = f"{block.place}: {shlex.join(words)}"
    if words[0] == "promptattn" and not block.reason:
        made = CliRunner().invoke(app, words[1:])
        assert made.exit_code == 0, f"{where}\n{made.output}\n{made.exception!r}"
    elif "promptattn" in words or "promptattn.cli" in words:
        # Also behind a launcher: accelerate launch ... --module promptattn.cli batch ...
        after = next(at for at, word in enumerate(words) if word in ("promptattn", "promptattn.cli")) + 1
        _parsed(get_command(app).commands[words[after]], words[after + 1 :])
    elif words[0] == "python":
        _script(words[1], words[2:])
    elif words[:2] == ["pip", "install"]:
        _extras(words[2:], where)
    else:
        assert words == ["pytest"], f"{where}: neither run nor checked"


def _parsed(command, arguments):
    """Options that do not exist and values of a wrong type are refused while a command line is read."""
    command.make_context(command.name, list(arguments))


def _script(path, arguments):
    """The script's own parser takes these arguments."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        module = import_module(Path(path).stem)
        with contextlib.suppress(_Stop), pytest.MonkeyPatch.context() as patch:
            patch.setattr("argparse.ArgumentParser.parse_args", _parse_and_stop)
            patch.setattr(sys, "argv", [path, *arguments])
            if inspect.signature(module.main).parameters:
                typed = typer.Typer()
                typed.command()(module.main)
                _parsed(get_command(typed), arguments)
            else:
                module.main()
                raise AssertionError(f"{path} reads no arguments")
    finally:
        sys.path.remove(str(ROOT / "scripts"))


class _Stop(Exception):
    pass


def _parse_and_stop(self, args=None, namespace=None):
    _, unknown = self.parse_known_args(args, namespace)
    assert not unknown, unknown
    raise _Stop


def _extras(arguments, where):
    """The extras of this package that are installed exist, and so does the file of versions."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    asked = [name for word in arguments for group in re.findall(r"\[(.*)\]", word) for name in group.split(",")]
    assert set(asked) <= set(known), where
    assert "-c" not in arguments or (ROOT / arguments[arguments.index("-c") + 1]).is_file(), where


@pytest.mark.parametrize("page", PAGES, ids=NAMED)
def test_every_block_says_what_it_is(page):
    for block in blocks(page):
        assert block.kind in KINDS or (block.kind == "" and not block.code.strip().startswith("promptattn")), block
    fences = page.read_text(encoding="utf-8").count("\n```")
    assert fences == 2 * len(list(blocks(page))), "a fence is not closed, or is indented"


@pytest.mark.parametrize("page", PAGES, ids=NAMED)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def _anchors(page):
    """What a heading is called in a link: lower case, blanks as hyphens, without punctuation."""
    for heading in re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
