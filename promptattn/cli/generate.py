"""`promptattn generate`: images from a weighted prompt, with a map of every word."""

from typing import Annotated, Any

import typer

from promptattn.cli.options import Config, Force, Json, Maps, Sets, Verbose, with_making
from promptattn.cli.running import made_again, run
from promptattn.cli.settings import settings, with_maps
from promptattn.cli.written import written
from promptattn.console import told
from promptattn.errors import ConfigError

__all__ = ["generate"]


@with_making
def generate(
    prompt: Annotated[
        str | None,
        typer.Argument(
            help='The prompt, e.g. "a (red:1.4) cat", where `(word:1.4)` weighs a word; - reads standard input.'
            " [default: the config's]"
        ),
    ] = None,
    config: Config = None,
    sets: Sets = None,
    source: Annotated[
        str | None,
        typer.Option("--from", help="An image of promptattn or A1111 to make again, with other options if any."),
    ] = None,
    folder: Annotated[
        str | None, typer.Option("--out", "-o", help="Folder for image, maps and viewer.  [default: out]")
    ] = None,
    force: Force = False,
    maps: Maps = None,
    record: Annotated[
        str | None,
        typer.Option(help="Folder for the maps of every step and layer; their size is told first."),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
    **making: Any,
) -> None:
    """Make an image from a weighted prompt, with a map of every word.

    **Example:** `promptattn generate "un gato (rojo:1.4) persigue a un ratón gris" --seed 7 --out out`

    Settings come from the model's preset, then `--config`, then the image of `--from`, then `--set`, then the other
    options.
    """
    with told(verbose, as_json=as_json):
        from promptattn.config import load_config

        if record is not None and maps is False:
            raise ConfigError("--record records maps, and --no-maps records none; leave out one of them.")

        options = settings(
            prompt=prompt and written(prompt),
            folder=folder,
            force=force or None,
            capture=False if maps is False else None,
            record=record,
            **making,
        )
        if source is None:
            wanted = load_config(config, sets or (), options)
        else:
            wanted = made_again(source, config, sets or (), options)
        if maps:
            wanted = with_maps(wanted)
        run(wanted, as_json=as_json)
