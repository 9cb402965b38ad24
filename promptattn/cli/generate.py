"""`promptattn generate`: images from a weighted prompt, with a map of every word."""

from typing import TYPE_CHECKING, Annotated

import typer

from promptattn.cli.options import Config, Force, Method, Negative, Sets, Strength, Syntax, Verbose, Where
from promptattn.cli.running import run
from promptattn.console import told

if TYPE_CHECKING:
    from promptattn.config.reading import Option

__all__ = ["generate"]


def generate(
    prompt: Annotated[
        str | None,
        typer.Argument(help='The prompt; `(word:1.4)` weighs a word, e.g. "a (red:1.4) cat". [default: the config\'s]'),
    ] = None,
    negative: Negative = None,
    config: Config = None,
    sets: Sets = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A preset (shapes, sdxl ...), a folder, or a hub id.  [default: shapes]"),
    ] = None,
    folder: Annotated[
        str | None, typer.Option("--out", "-o", help="Folder for image, maps and viewer.  [default: out]")
    ] = None,
    force: Force = False,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the first image; the next ones count up.  [default: 0]")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.  [default: the model's]")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.  [default: the model's]")] = None,
    height: Annotated[int | None, typer.Option(help="Height in pixels.  [default: the model's]")] = None,
    width: Annotated[int | None, typer.Option(help="Width in pixels.  [default: the model's]")] = None,
    images: Annotated[int | None, typer.Option(help="How many images.  [default: 1]")] = None,
    syntax: Syntax = None,
    method: Method = None,
    where: Where = None,
    strength: Strength = None,
    clip_skip: Annotated[int | None, typer.Option(help="Leave out so many last layers of the text encoder.")] = None,
    maps: Annotated[
        bool | None, typer.Option("--maps/--no-maps", help="Record and save the maps of every word.  [default: maps]")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.  [default: auto]")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="auto, float32, bfloat16 or float16.  [default: the preset's, or auto]")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Make an image from a weighted prompt, with a map of every word.

    **Example:** `promptattn generate "un gato (rojo:1.4) persigue a un ratón gris" --seed 7 --out out`

    Settings come from the model's preset, then `--config`, then `--set`, then the other options.
    """
    options: list[Option] = [
        ("the prompt", "prompt", prompt),
        ("--negative", "negative_prompt", negative),
        ("--model", "model", model),
        ("--out", "export.folder", folder),
        ("--force", "export.force", force or None),
        ("--seed", "seed", seed),
        ("--steps", "steps", steps),
        ("--guidance", "guidance", guidance),
        ("--height", "size.height", height),
        ("--width", "size.width", width),
        ("--images", "images", images),
        ("--syntax", "syntax", syntax),
        ("--method", "weighting.method", method),
        ("--where", "weighting.where", where),
        ("--strength", "weighting.strength", strength),
        ("--clip-skip", "clip_skip", clip_skip),
        ("--device", "device", device),
        ("--dtype", "dtype", dtype),
        ("--no-maps", "capture", False if maps is False else None),
    ]
    with told(verbose):
        from promptattn.config import CaptureConfig, load_config

        wanted = load_config(config, sets or (), options)
        if maps and wanted.capture is None:
            wanted = wanted.model_copy(update={"capture": CaptureConfig()})
        run(wanted)
