"""`promptattn generate`: images from a weighted prompt, with a map of every word."""

from typing import Annotated

import typer

from promptattn.cli.options import (
    ClipSkip,
    Config,
    Device,
    Dtype,
    Force,
    Guidance,
    Height,
    Json,
    Metadata,
    Method,
    ModelOfConfig,
    Negative,
    Seed,
    Sets,
    Steps,
    Strength,
    Syntax,
    Verbose,
    Where,
    Width,
)
from promptattn.cli.running import made_again, run
from promptattn.cli.settings import settings, with_maps
from promptattn.console import told
from promptattn.errors import ConfigError

__all__ = ["generate"]


def generate(
    prompt: Annotated[
        str | None,
        typer.Argument(help='The prompt; `(word:1.4)` weighs a word, e.g. "a (red:1.4) cat". [default: the config\'s]'),
    ] = None,
    negative: Negative = None,
    source: Annotated[
        str | None,
        typer.Option("--from", help="An image of promptattn or A1111 to make again, with other options if any."),
    ] = None,
    config: Config = None,
    sets: Sets = None,
    model: ModelOfConfig = None,
    folder: Annotated[
        str | None, typer.Option("--out", "-o", help="Folder for image, maps and viewer.  [default: out]")
    ] = None,
    force: Force = False,
    seed: Seed = None,
    steps: Steps = None,
    guidance: Guidance = None,
    height: Height = None,
    width: Width = None,
    images: Annotated[int | None, typer.Option(help="How many images.  [default: 1]")] = None,
    syntax: Syntax = None,
    method: Method = None,
    where: Where = None,
    strength: Strength = None,
    clip_skip: ClipSkip = None,
    maps: Annotated[
        bool | None, typer.Option("--maps/--no-maps", help="Record and save the maps of every word.  [default: maps]")
    ] = None,
    record: Annotated[
        str | None,
        typer.Option(
            help="Folder for the maps of every step and layer, in safetensors shards; how much is told first."
        ),
    ] = None,
    metadata: Metadata = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make an image from a weighted prompt, with a map of every word.

    **Example:** `promptattn generate "un gato (rojo:1.4) persigue a un ratón gris" --seed 7 --out out`

    Settings come from the model's preset, then `--config`, then the image of `--from`, then `--set`, then the other
    options.
    """
    options = settings(
        prompt=prompt,
        negative=negative,
        model=model,
        folder=folder,
        force=force or None,
        seed=seed,
        steps=steps,
        guidance=guidance,
        height=height,
        width=width,
        images=images,
        syntax=syntax,
        method=method,
        where=where,
        strength=strength,
        clip_skip=clip_skip,
        device=device,
        dtype=dtype,
        capture=False if maps is False else None,
        record=record,
        metadata=metadata,
    )
    with told(verbose):
        from promptattn.config import load_config

        if record is not None and maps is False:
            raise ConfigError("--record records maps, and --no-maps records none; leave out one of them.")

        if source is None:
            wanted = load_config(config, sets or (), options)
        else:
            wanted = made_again(source, config, sets or (), options)
        if maps:
            wanted = with_maps(wanted)
        run(wanted, as_json=as_json)
