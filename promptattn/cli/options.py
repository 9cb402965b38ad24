"""Arguments and options that several commands share."""

from typing import Annotated

import typer

__all__ = ["Config", "Force", "Method", "Model", "Negative", "Prompt", "Sets", "Strength", "Syntax", "Verbose", "Where"]

Prompt = Annotated[str, typer.Argument(help='The prompt; `(word:1.4)` weighs a word, e.g. "a (red:1.4) cat".')]
Negative = Annotated[str | None, typer.Option("--negative", "-n", help="What to stay away from, weighted likewise.")]
Model = Annotated[str, typer.Option("--model", "-m", help="A preset (shapes, sdxl ...), a folder, or a hub id.")]
Config = Annotated[str | None, typer.Option("--config", "-c", help="A YAML file of settings, or a preset's name.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Any setting of the config, e.g. `weighting.layers=mid_block`.")
]
Syntax = Annotated[
    str | None, typer.Option(help="How the prompt is written: a1111, comfy or compel.  [default: a1111]")
]
Method = Annotated[
    str | None,
    typer.Option(help="What a weight does: attention, a1111, comfy, compel ...  [default: attention]"),
]
Where = Annotated[str | None, typer.Option(help="Where weights act: auto, denoiser, text or both.  [default: auto]")]
Strength = Annotated[str | None, typer.Option(help='Exponent on weights, or "exact" for plain odds.  [default: 6]')]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output folder.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the libraries' own messages and full errors.")]
