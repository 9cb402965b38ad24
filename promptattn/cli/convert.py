"""`promptattn convert`: a prompt from one syntax to another."""

from dataclasses import asdict
from typing import Annotated

import typer

from promptattn.cli import completing
from promptattn.cli.options import Json, Prompt, Verbose
from promptattn.cli.written import written
from promptattn.console import emit, note, told

__all__ = ["convert"]


def convert(
    prompt: Prompt,
    source: Annotated[
        str,
        typer.Option(
            "--from", "-f", autocompletion=completing.syntaxes, help="How it is written: a1111, comfy or compel."
        ),
    ],
    target: Annotated[
        str,
        typer.Option("--to", "-t", autocompletion=completing.syntaxes, help="How to write it: a1111, comfy or compel."),
    ] = "a1111",
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Write a prompt in another syntax, with the same weights to the last digit.

    Standard output holds the prompt and nothing else; what looks like a mistake in it is told on standard error. What
    the other syntax cannot say is an error, with exit code 2.

    **Examples:**

    `promptattn convert --from comfy --to a1111 "a (red (very:1.3) cat:1.2)"`

    `promptattn convert --from compel --to comfy "un gato++ (muy rojo)1.3"`
    """
    with told(verbose, as_json=as_json):
        from promptattn import convert as converted
        from promptattn import parse

        text = written(prompt)
        result = converted(text, source, target)
        found = parse(text, source).diagnostics
        if as_json:
            emit({"from": source, "to": target, "prompt": text, "converted": result, "findings": [*map(asdict, found)]})
        else:
            typer.echo(result)
        for diagnostic in found:
            note(diagnostic.severity, f"{diagnostic}\n{diagnostic.pointer(text)}")
