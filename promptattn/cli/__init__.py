"""The command line. Thin: every command calls the public API, and imports it only when it runs."""

from typing import Annotated

import typer

from promptattn.cli.batch import batch
from promptattn.cli.compare import compare
from promptattn.cli.convert import convert
from promptattn.cli.doctor import doctor
from promptattn.cli.explain import explain
from promptattn.cli.export import export
from promptattn.cli.generate import generate
from promptattn.cli.models import models
from promptattn.cli.page import page
from promptattn.cli.sweep import sweep
from promptattn.cli.tokens import tokens
from promptattn.cli.usage import Commands
from promptattn.console import printable

__all__ = [
    "app",
    "batch",
    "compare",
    "convert",
    "doctor",
    "explain",
    "export",
    "generate",
    "main",
    "models",
    "page",
    "sweep",
    "tokens",
]


def _version(asked: bool) -> None:
    if asked:
        from promptattn import __version__

        typer.echo(f"promptattn {__version__}")
        raise typer.Exit


app = typer.Typer(
    help="Weigh the words of a text-to-image prompt inside the attention, and see where each of them went.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrongly asked for, 130 stopped by Ctrl+C."
    " With `--json` an error is JSON too.\n\n"
    "`--install-completion` has Tab complete commands, options and their values.",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def _everywhere(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Tell the version, and end.")
    ] = False,
) -> None:
    """What is asked of promptattn itself."""


app.command()(generate)
app.command()(export)
app.command()(sweep)
app.command()(batch)
app.command()(compare)
app.command()(explain)
app.command()(tokens)
app.command()(convert)
app.command()(models)
app.command()(doctor)
app.command("app")(page)


def main() -> None:
    """Entry point of the console command."""
    printable()
    app()
