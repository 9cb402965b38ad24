"""`promptattn doctor`: what works on this machine, and what to install."""

import sys
from contextlib import redirect_stdout
from itertools import groupby
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from promptattn.cli.options import Json, Verbose
from promptattn.console import FAILURE, emit, out, told, waiting

if TYPE_CHECKING:
    from promptattn.doctor import Report

__all__ = ["doctor"]

_MARKS = {"fine": ("ok      ", "green"), "absent": ("absent  ", "yellow"), "broken": ("broken  ", "bold red")}


def doctor(as_json: Json = False, verbose: Verbose = False) -> None:
    """Tell versions, devices, attention kernels and models, what works here, and what to install.

    Nothing is fetched and no model is loaded. Exit code 1 where something is broken; what is absent need not be there.

    **Examples:**

    `promptattn doctor`

    `promptattn doctor --json`
    """
    with told(verbose, as_json=as_json):
        from promptattn.doctor import examine

        # A package that does not load may print what it has to say about it.
        with waiting("Examining"), redirect_stdout(sys.stderr):
            report = examine()
        if as_json:
            emit(report.as_dict())
        else:
            _show(report)
        if not report.is_fine:
            raise typer.Exit(FAILURE)


def _show(report: "Report") -> None:
    for group, checks in groupby(report.checks, lambda check: check.group):
        out.print(Text(group, style="bold"))
        for check in checks:
            mark, style = _MARKS[check.state]
            advice = f"; {check.advice}" if check.advice else ""
            line = Text.assemble(("  " + mark, style), f"{check.name}: {check.found}", (advice, "cyan"))
            out.print(line, soft_wrap=True)
    broken = sum(check.state == "broken" for check in report.checks)
    out.print(Text("Everything that is needed works." if report.is_fine else f"{broken} broken; see above."))
