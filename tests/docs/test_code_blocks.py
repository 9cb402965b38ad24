"""Every code block of the README and of docs/ runs, and prints what is written under it.

Python blocks of one page run one after the other in a folder of their own; so do the commands. Runs of more than eight
steps are cut to three, in which the pictures are poor and everything else is as it is. A block that cannot run here is
marked in the page's source with the reason: `<!-- not run: why -->` on the line before it.
"""

import contextlib
import functools
import io
import re
import shlex
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import diffusers
import pytest
import torch
from typer.testing import CliRunner

import promptattn
import promptattn.sweeps.running
from promptattn.cli import app
from promptattn.errors import PromptAttnWarning

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
KINDS = ("python", "sh", "text", "json", "yaml", "bibtex")
STEPS, MOST = 3, 8
NAMED = [str(page.relative_to(ROOT)) for page in PAGES]

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<kind>\w*)\n(?P<code>.*?)^```$", flags=re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    kind: str
    code: str
    line: int
    reason: str | None


def blocks(page):
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["kind"], found["code"], text.count("\n", 0, found.start("kind")) + 1, found["reason"])
        for found in _FENCE.finditer(text)
    ]


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
def test_python_blocks_run_and_print_what_is_shown(page, tmp_path, monkeypatch, few_steps):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    names = {"__name__": page.stem}
    every = blocks(page)
    for block, following in zip(every, [*every[1:], None], strict=False):
        if block.kind != "python" or block.reason:
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", PromptAttnWarning)
            torch.manual_seed(0)
            # With the page's own line numbers, so that a failure says where it is.
            exec(compile("\n" * block.line + block.code, str(page), "exec"), names)
        if following is not None and following.kind == "text" and not following.reason:
            assert printed.getvalue() == following.code, f"{page.name}:{block.line}"


@pytest.mark.parametrize("page", PAGES, ids=NAMED)
def test_commands_run(page, tmp_path, monkeypatch, few_steps):
    monkeypatch.chdir(tmp_path)
    for folder in ("configs",):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for block in blocks(page):
        if block.kind != "sh" or block.reason:
            continue
        for line in block.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line.split("&&")[-1], comments=True)
            if words[:1] != ["promptattn"]:
                # Installing, training and measuring; what they name has to be there.
                scripts = [word for word in words if word.startswith("scripts/")]
                assert not words or scripts or words[0] in ("pip", "pytest", "git"), f"{page.name}:{block.line}: {line}"
                assert all((ROOT / script).is_file() for script in scripts), f"{page.name}:{block.line}: {line}"
                continue
            made = CliRunner().invoke(app, words[1:])
            assert made.exit_code == 0, f"{page.name}:{block.line}: {line}\n{made.output}\n{made.exception!r}"


@pytest.mark.parametrize("page", PAGES, ids=NAMED)
def test_every_block_says_what_it_is(page):
    for block in blocks(page):
        assert block.kind in KINDS or (block.kind == "" and not block.code.strip().startswith("promptattn")), block
    fences = page.read_text(encoding="utf-8").count("\n```")
    assert fences == 2 * len(blocks(page)), "a fence is not closed, or is indented"


@pytest.mark.parametrize("page", PAGES, ids=NAMED)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        assert link.startswith("http") or (page.parent / link).exists(), link
