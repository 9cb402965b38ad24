"""What the commands show: results, notes, errors and progress, in one place for the command line and the scripts."""

import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from io import TextIOWrapper
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from promptattn.errors import ConfigError, PromptAttnError, PromptAttnWarning, PromptSyntaxError
from promptattn.memory import readable, used

__all__ = [
    "FAILURE",
    "INTERRUPTED",
    "USAGE",
    "emit",
    "err",
    "failed",
    "note",
    "out",
    "printable",
    "progress",
    "told",
    "waiting",
]

FAILURE, USAGE = 1, 2
INTERRUPTED = 130  # as shells say of what Ctrl+C ended

# What messages add for Python, where an option of the command line has just been named.
_IN_PYTHON = (" (force=True)", " (Capture(per_step=True))")

_WIDE = 70  # columns from which on a terminal has room for a bar

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
    words = TextColumn("{task.description}", markup=False, table_column=_one_line(ratio=3))
    bar = [BarColumn(bar_width=None, table_column=_one_line(ratio=2))] if err.width >= _WIDE else []
    count = TextColumn("{task.fields[count]}", table_column=_one_line())
    timed = (TimeRemainingColumn(table_column=_one_line()), _MemoryColumn(table_column=_one_line()))
    visible = shown and err.is_terminal
    with Progress(words, *bar, count, *timed, console=err, transient=True, expand=True, disable=not visible) as made:
        yield _Bar(made)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """`what` on stderr while it lasts, for a person who watches."""
    with err.status(f"{what} ...") if err.is_terminal else nullcontext():
        yield


def _one_line(ratio: int | None = None) -> Column:
    """A column that is cut rather than wrapped; those with a ratio share what the others leave."""
    return Column(no_wrap=True, overflow="ellipsis", ratio=ratio)


@contextmanager
def told(verbose: bool, *, as_json: bool = False) -> Iterator[None]:
    """Warnings as notes, and errors as one sentence and an exit code: 2 for usage, 1 for failure, 130 for Ctrl+C.

    With `as_json` an error is JSON on stdout too, as :func:`failed` has it. With `verbose` the sentence stands under
    the whole traceback, as it always does under that of an error which nobody foresaw.
    """
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    else:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("always", PromptAttnWarning)
        warnings.showwarning = _noting(warnings.showwarning if verbose else None)
        try:
            yield
        except (typer.Exit, BrokenPipeError):  # typer ends quietly where nobody reads on
            raise
        except PromptAttnError as error:
            code = USAGE if isinstance(error, ConfigError | PromptSyntaxError) else FAILURE
            raise _ended(error, str(error), code, trace=verbose, as_json=as_json) from None
        except KeyboardInterrupt as error:
            said = "by Ctrl+C; what was finished before is kept, and nothing is half-written."
            raise _ended(error, said, INTERRUPTED, trace=False, as_json=as_json) from None
        except MemoryError as error:
            said = "there is not enough memory; use a smaller number format (--dtype bfloat16), or a smaller model."
            raise _ended(error, said, FAILURE, trace=verbose, as_json=as_json) from None
        except ImportError as error:
            said = f"{error}; `promptattn doctor` tells what is not installed, or does not load."
            raise _ended(error, said, FAILURE, trace=verbose, as_json=as_json) from None
        except OSError as error:
            raise _ended(error, f"{error}.", FAILURE, trace=verbose, as_json=as_json) from None
        except Exception as error:
            said = f"{type(error).__name__}: {error}\nThis was not foreseen: please report it, with the lines above."
            raise _ended(error, said, FAILURE, trace=True, as_json=as_json) from None


def failed(kind: str, message: str, code: int) -> None:
    """An error as JSON on stdout: `{"error": {"kind", "message", "exit_code"}}`."""
    with suppress(OSError):  # the error may be that nothing can be written there
        emit({"error": {"kind": kind, "message": message, "exit_code": code}})


def _noting(other: Callable[..., None] | None) -> Callable[..., None]:
    """A `showwarning` that tells promptattn's warnings as notes, each once, and gives `other` the rest."""
    seen: set[str] = set()

    def noted(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, PromptAttnWarning):
            if str(message) not in seen:  # what holds for every image of a sweep is said once
                note("warning", str(message))
            seen.add(str(message))
        elif other is not None:
            other(message, category, *rest, **more)

    return noted


def _ended(error: BaseException, message: str, code: int, *, trace: bool, as_json: bool) -> typer.Exit:
    for words in _IN_PYTHON:
        message = message.replace(words, "")
    if trace:
        traceback.print_exception(error)
    note("stopped" if code == INTERRUPTED else "error", message)
    if as_json:
        failed(type(error).__name__, message, code)
    return typer.Exit(code)


def printable() -> None:
    """Have what a terminal cannot show (in a locale that is not UTF-8; half a surrogate pair) not end the command.

    It is escaped; in JSON that is what stands for it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
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
