"""`promptattn sweep`: one prompt with many values, and every image of it in one grid."""

import json
from typing import Annotated

import typer
from rich.text import Text

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
from promptattn.cli.running import Estimates
from promptattn.cli.settings import settings, with_maps
from promptattn.console import emit, out, progress, told

__all__ = ["sweep"]


def sweep(
    template: Annotated[
        str | None,
        typer.Argument(
            help='The prompt, with one or two sweeps in braces: "a (red:{0.5..2.0:0.25}) {cat,mouse}".'
            " [default: the config's]"
        ),
    ] = None,
    negative: Negative = None,
    config: Config = None,
    sets: Sets = None,
    model: ModelOfConfig = None,
    folder: Annotated[str, typer.Option("--out", "-o", help="Folder for grids, images and JSON.")] = "sweep",
    force: Force = False,
    seed: Seed = None,
    steps: Steps = None,
    guidance: Guidance = None,
    height: Height = None,
    width: Width = None,
    images: Annotated[int | None, typer.Option(help="Images of each value, seeds counting up.  [default: 1]")] = None,
    syntax: Syntax = None,
    method: Method = None,
    where: Where = None,
    strength: Strength = None,
    clip_skip: ClipSkip = None,
    maps: Annotated[
        bool | None,
        typer.Option("--maps/--no-maps", help="Draw the maps of the swept words too.  [default: maps]"),
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Option("--word", help="Draw the maps of this word or phrase instead."),
    ] = None,
    batch: Annotated[int, typer.Option(help="Images in one call of the model.")] = 4,
    limit: Annotated[int, typer.Option(help="Refuse to make more images than this.")] = 64,
    metadata: Metadata = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make the image of every value that stands in braces in a prompt, all from the same seed, in one labelled grid.

    A sweep is a range, `{0.5..2.0:0.25}`, or a list, `{red,blue}`; of two, the first gives the rows. `\\{` is a brace.
    The folder gets grid.png, maps_WORD.png, sweep.json and every image.

    **Examples:**

    `promptattn sweep "a (red:{0.5..2.0:0.25}) cat" --seed 7`

    `promptattn sweep "un (gato:{1,1.5}) {rojo,azul} y un ratón" --images 2 --out colores`
    """
    options = settings(
        prompt=template,
        negative=negative,
        model=model,
        folder=folder,
        force=force or None,
        words=words or None,
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
        metadata=metadata,
    )
    with told(verbose):
        from promptattn.config import load_config

        wanted = load_config(config, sets or (), options)
        if maps:
            wanted = with_maps(wanted)
        from promptattn.sweeps.from_config import sweep_config
        from promptattn.sweeps.result import SWEEP_FILE

        estimates = Estimates()
        with progress(shown=not as_json) as bar:
            written, made = sweep_config(
                wanted,
                batch=batch,
                limit=limit,
                on_stage=bar.stage,
                on_step=bar.step,
                on_estimate=estimates.take,
            )
        if as_json:
            description = json.loads((written / SWEEP_FILE).read_text(encoding="utf-8"))
            emit({"folder": str(written), **description, "estimate": estimates.as_dict()})
            return
        drawn = ", ".join(["grid.png", *sorted(path.name for path in written.glob("maps_*.png"))])
        out.print(Text(f"Wrote {len(made.cells)} image{'s' if len(made.cells) > 1 else ''} to {written}; see {drawn}."))
