"""Arguments and options that several commands share."""

from typing import Annotated

import typer

from promptattn.cli import completing

__all__ = [
    "ClipSkip",
    "Config",
    "Device",
    "Dtype",
    "Force",
    "Guidance",
    "Height",
    "Json",
    "Metadata",
    "Method",
    "Model",
    "ModelOfConfig",
    "Negative",
    "Prompt",
    "Seed",
    "Sets",
    "Steps",
    "Strength",
    "Syntax",
    "Verbose",
    "Where",
    "Width",
]

Prompt = Annotated[str, typer.Argument(help='The prompt; `(word:1.4)` weighs a word, e.g. "a (red:1.4) cat".')]
Negative = Annotated[str | None, typer.Option("--negative", "-n", help="What to stay away from, weighted likewise.")]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", autocompletion=completing.models, help="A preset (shapes, sdxl ...), a folder, or a hub id."
    ),
]
ModelOfConfig = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        autocompletion=completing.models,
        help="A preset (shapes, sdxl ...), a folder, or a hub id.  [default: shapes]",
    ),
]
Config = Annotated[str | None, typer.Option("--config", "-c", help="A YAML file of settings, or a preset's name.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Any setting of the config, e.g. `weighting.layers=mid_block`.")
]
Syntax = Annotated[
    str | None,
    typer.Option(
        autocompletion=completing.syntaxes,
        help="How the prompt is written: a1111, comfy or compel.  [default: a1111]",
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        help="What a weight does: attention, prompt-to-prompt, negpip, a1111, comfy, compel, comfy++ or down_weight."
        "  [default: attention]",
        autocompletion=completing.methods,
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        autocompletion=completing.places, help="Where weights act: auto, denoiser, text or both.  [default: auto]"
    ),
]
Strength = Annotated[str | None, typer.Option(help='Exponent on weights, or "exact" for plain odds.  [default: 6]')]
Seed = Annotated[int | None, typer.Option(help="Seed of the first image; the next ones count up.  [default: 0]")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps.  [default: the model's]")]
Guidance = Annotated[float | None, typer.Option(help="Guidance scale.  [default: the model's]")]
Height = Annotated[int | None, typer.Option(help="Height in pixels.  [default: the model's]")]
Width = Annotated[int | None, typer.Option(help="Width in pixels.  [default: the model's]")]
ClipSkip = Annotated[int | None, typer.Option(help="Leave out so many last layers of the text encoder.")]
Device = Annotated[
    str | None,
    typer.Option(autocompletion=completing.devices, help="auto, cpu, cuda, cuda:1 or mps.  [default: auto]"),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        autocompletion=completing.dtypes,
        help="auto, float32, bfloat16 or float16.  [default: the preset's, or auto]",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Metadata = Annotated[
    bool | None,
    typer.Option("--metadata/--no-metadata", help="Whether images hold their settings.  [default: metadata]"),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output folder.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the libraries' own messages and full errors.")]
