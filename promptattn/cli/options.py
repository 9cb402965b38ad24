"""Arguments and options that several commands share."""

import inspect
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from promptattn.cli import completing

__all__ = [
    "IMAGE",
    "MACHINE",
    "WEIGHTS",
    "Config",
    "Device",
    "Force",
    "Json",
    "Maps",
    "Metadata",
    "Method",
    "Model",
    "Negative",
    "Prompt",
    "Sets",
    "Strength",
    "Syntax",
    "Verbose",
    "Where",
    "number",
    "whole",
    "with_making",
]

Command = TypeVar("Command", bound=Callable[..., None])

IMAGE, WEIGHTS, MACHINE = "Image", "Weights", "Machine"
"""Parts of the help, under which options stand."""


def whole(text: str) -> int:
    """A whole number, or a sentence of why not."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number.") from None


def number(text: str) -> float:
    """A number, or a sentence of why not."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number.") from None


Prompt = Annotated[
    str,
    typer.Argument(
        help='The prompt, e.g. "a (red:1.4) cat", where `(word:1.4)` weighs a word; - reads standard input.'
    ),
]
Negative = Annotated[str | None, typer.Option("--negative", "-n", help="What to stay away from, weighted likewise.")]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", autocompletion=completing.models, help="A preset (shapes, sdxl ...), a folder, or a hub id."
    ),
]
Config = Annotated[str | None, typer.Option("--config", "-c", help="A YAML file of settings, or a preset's name.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        autocompletion=completing.settings,
        help="Any setting of the config, e.g. `weighting.layers=mid_block`.",
    ),
]
Syntax = Annotated[
    str | None,
    typer.Option(
        autocompletion=completing.syntaxes,
        rich_help_panel=WEIGHTS,
        help="How the prompt is written: a1111, comfy or compel.  [default: a1111]",
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        autocompletion=completing.methods,
        rich_help_panel=WEIGHTS,
        help="What a weight does: attention, or as another tool has it.  [default: attention; others: prompt-to-prompt,"
        " negpip, a1111, comfy, compel, comfy++, down_weight]",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        autocompletion=completing.places,
        rich_help_panel=WEIGHTS,
        help="Where weights act: auto, denoiser, text or both.  [default: auto]",
    ),
]
Strength = Annotated[
    str | None,
    typer.Option(rich_help_panel=WEIGHTS, help='Exponent on weights, or "exact" for plain odds.  [default: 6]'),
]
Device = Annotated[
    str | None,
    typer.Option(
        autocompletion=completing.devices,
        rich_help_panel=MACHINE,
        help="auto, cpu, cuda, cuda:1 or mps.  [default: auto]",
    ),
]
Maps = Annotated[
    bool | None, typer.Option("--maps/--no-maps", help="Record and save the maps of every word.  [default: maps]")
]
Metadata = Annotated[
    bool | None,
    typer.Option("--metadata/--no-metadata", help="Whether images hold their settings.  [default: metadata]"),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the libraries' own messages and full errors.")]


def with_making(command: Command) -> Command:
    """`command` with the options of every command that makes images, behind its argument, in place of its `**making`.

    typer reads signatures, so this writes one: the options are said once, and a new one is in all commands at once.
    """
    own = inspect.signature(command)
    argument, *others, making = own.parameters
    names = [*inspect.signature(_making).parameters, *others]
    found = {**own.parameters, **inspect.signature(_making).parameters}
    options = [found[name].replace(kind=inspect.Parameter.KEYWORD_ONLY) for name in names]
    command.__signature__ = own.replace(parameters=[own.parameters[argument], *options])  # type: ignore[attr-defined]
    command.__annotations__ = {**command.__annotations__, **_making.__annotations__}
    del command.__annotations__[making]
    return command


def _making(
    negative: Negative = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            autocompletion=completing.models,
            help="A preset (shapes, sdxl ...), a folder, or a hub id.  [default: shapes]",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=whole,
            rich_help_panel=IMAGE,
            help="Seed of the first image; the next ones count up.  [default: 0]",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(parser=whole, rich_help_panel=IMAGE, help="How many images of each prompt.  [default: 1]"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(parser=whole, rich_help_panel=IMAGE, help="Denoising steps.  [default: the model's]"),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(parser=number, rich_help_panel=IMAGE, help="Guidance scale.  [default: the model's]"),
    ] = None,
    height: Annotated[
        int | None,
        typer.Option(parser=whole, rich_help_panel=IMAGE, help="Height in pixels.  [default: the model's]"),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(parser=whole, rich_help_panel=IMAGE, help="Width in pixels.  [default: the model's]"),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            "--sampler",
            autocompletion=completing.schedulers,
            rich_help_panel=IMAGE,
            help="A scheduler of diffusers, e.g. DDIMScheduler.  [default: the model's]",
        ),
    ] = None,
    syntax: Syntax = None,
    method: Method = None,
    where: Where = None,
    strength: Strength = None,
    clip_skip: Annotated[
        int | None,
        typer.Option(parser=whole, rich_help_panel=IMAGE, help="Leave out so many last layers of the text encoder."),
    ] = None,
    metadata: Metadata = None,
    device: Device = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            autocompletion=completing.dtypes,
            rich_help_panel=MACHINE,
            help="auto, float32, bfloat16 or float16.  [default: the preset's, or auto]",
        ),
    ] = None,
) -> None:
    """The options of `with_making`: a signature, and never called."""
