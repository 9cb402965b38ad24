"""`promptattn tokens`: how a prompt is cut into tokens."""

from promptattn.cli.options import Json, Model, Negative, Prompt, Syntax, Verbose
from promptattn.cli.tables import token_table
from promptattn.cli.written import written
from promptattn.console import emit, note, out, told, waiting

__all__ = ["tokens"]


def tokens(
    prompt: Prompt,
    negative: Negative = None,
    model: Model = "shapes",
    syntax: Syntax = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show how a prompt is cut into tokens: word, weight, chunk, and what is cut off, for every text encoder.

    **Example:** `promptattn tokens "un gato (rojo:1.4) persigue a un ratón gris"`

    What weights become, and schedules step by step, are told by `promptattn explain`.
    """
    with told(verbose, as_json=as_json):
        from dataclasses import asdict

        text = written(prompt)
        with waiting("Reading"):
            from promptattn.explanation import explain

            explained = explain(text, model, negative, syntax=syntax or "a1111")
        sides = [("prompt", explained.prompt), ("negative prompt", explained.negative)]
        readings = [
            (side, read, encoder)
            for side, reading in sides
            if reading is not None
            for read in reading.texts
            for encoder in read.encoders
        ]
        if as_json:
            emit([{"side": side, "text": read.text, **asdict(encoder)} for side, read, encoder in readings])
        else:
            for side, _, encoder in readings:
                out.print(token_table(f"{side}, {encoder.name}", encoder, acting=False))
        for found in explained.findings:
            where = "prompt" if found.source == "prompt" else "negative prompt"
            note(found.severity, f"{found.message} ({where}, character {found.start + 1})")
