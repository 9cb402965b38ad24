"""What the commands show: results, notes, errors and progress, in one place for the command line and the scripts."""

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from promptattn.errors import ConfigError, PromptAttnError, PromptAttnWarning, PromptSyntaxError
from promptattn.memory import readable, used

__all__ = ["FAILURE", "INTERRUPTED", "USAGE", "emit", "err", "note", "out", "printable", "progress", "told"]

FAILURE, USAGE = 1, 2
INTERRUPTED = 130  # as shells say of what Ctrl+C ended

# Read by transformers and diffusers when they are imported.
_QUIET = {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"}

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class _Bar:
    """A progress bar that is told of stages and steps."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, count="")

    def stage(self, name: str) -> None:
        self._bar.update(self._task, description=f"{name} ...")

    def step(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total, count=f"{done}/{total} steps")


class _MemoryColumn(ProgressColumn):
    """What this process holds of memory, on the GPU where it uses one."""

    max_refresh = 1.0

    def render(self, task: Task) -> Text:
        return Text(readable(used()), style="dim")


@contextmanager
def progress(*, shown: bool = True) -> Iterator[_Bar]:
    """One line on stderr, gone afterwards: what is being done, steps, time left and memory.

    Only for a person who watches: nothing where stderr is no terminal, and nothing unless `shown`.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[count]}"))
    timed = (TimeRemainingColumn(), _MemoryColumn())
    with Progress(*columns, *timed, console=err, transient=True, disable=not (shown and err.is_terminal)) as bar:
        yield _Bar(bar)


@contextmanager
def told(verbose: bool) -> Iterator[None]:
    """Warnings as notes, and promptattn's errors as one sentence and an exit code: 2 for usage, 1 for failure.

    Ctrl+C is a sentence too, and 130.
    """
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    else:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
    show = warnings.showwarning
    seen: set[str] = set()

    def noted(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, PromptAttnWarning):
            if str(message) not in seen:  # what holds for every image of a sweep is said once
                note("warning", str(message))
            seen.add(str(message))
        elif verbose:
            show(message, category, *rest, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", PromptAttnWarning)
        warnings.showwarning = noted
        try:
            yield
        except PromptAttnError as error:
            if verbose:
                raise
            note("error", str(error))
            raise typer.Exit(USAGE if isinstance(error, ConfigError | PromptSyntaxError) else FAILURE) from None
        except KeyboardInterrupt:
            if verbose:
                raise
            note("stopped", "by Ctrl+C; what was finished before is kept, and nothing is half-written.")
            raise typer.Exit(INTERRUPTED) from None


def printable() -> None:
    """Have what a terminal cannot show (in a locale that is not UTF-8) be escaped, and not end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and not _is_utf8(stream):
            stream.reconfigure(errors="backslashreplace")


def emit(value: Any) -> None:
    """`value` as JSON on stdout, unwrapped and uncoloured, so that it can be piped."""
    typer.echo(json.dumps(value, ensure_ascii=not _is_utf8(sys.stdout), indent=2, allow_nan=False))


def _is_utf8(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf8")


def note(severity: str, message: str) -> None:
    """One note on stderr: an `error`, a `warning`, or anything else as information."""
    style = {"error": "bold red", "warning": "yellow"}.get(severity, "cyan")
    err.print(Text.assemble((f"{severity}: ", style), message), soft_wrap=True)
