"""`promptattn sweep`: one prompt with many values, and every image of it in one grid."""

import json
from typing import Annotated, Any

import typer
from rich.text import Text

from promptattn.cli.options import MACHINE, Config, Force, Json, Sets, Verbose, whole, with_making
from promptattn.cli.running import Estimates
from promptattn.cli.settings import settings, with_maps
from promptattn.cli.written import written
from promptattn.console import emit, out, progress, told

__all__ = ["sweep"]


@with_making
def sweep(
    template: Annotated[
        str | None,
        typer.Argument(
            help='The prompt, with one or two sweeps in braces: "a (red:{0.5..2.0:0.25}) {cat,mouse}"; - reads standard'
            " input. [default: the config's]"
        ),
    ] = None,
    config: Config = None,
    sets: Sets = None,
    folder: Annotated[str, typer.Option("--out", "-o", help="Folder for grids, images and JSON.")] = "sweep",
    force: Force = False,
    maps: Annotated[
        bool | None,
        typer.Option("--maps/--no-maps", help="Draw the maps of the swept words too.  [default: maps]"),
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Option("--word", "--words", help="Draw the maps of this word or phrase instead."),
    ] = None,
    limit: Annotated[int, typer.Option(parser=whole, help="Refuse to make more images than this.")] = 64,
    batch: Annotated[
        int, typer.Option(parser=whole, rich_help_panel=MACHINE, help="Images in one call of the model.")
    ] = 4,
    as_json: Json = False,
    verbose: Verbose = False,
    **making: Any,
) -> None:
    """Make the image of every value that stands in braces in a prompt, all from the same seed, in one labelled grid.

    A sweep is a range, `{0.5..2.0:0.25}`, or a list, `{red,blue}`; of two, the first gives the rows. `\\{` is a brace.
    The folder gets grid.png, maps_WORD.png, sweep.json and every image.

    **Examples:**

    `promptattn sweep "a (red:{0.5..2.0:0.25}) cat" --seed 7`

    `promptattn sweep "un (gato:{1,1.5}) {rojo,azul} y un ratón" --images 2 --out colores`
    """
    with told(verbose, as_json=as_json):
        from promptattn.config import load_config

        options = settings(
            prompt=template and written(template),
            folder=folder,
            force=force or None,
            words=words or None,
            capture=False if maps is False else None,
            **making,
        )
        wanted = load_config(config, sets or (), options)
        if maps:
            wanted = with_maps(wanted)
        estimates = Estimates()
        with progress() as bar:
            bar.stage("Starting")
            from promptattn.sweeps.from_config import sweep_config
            from promptattn.sweeps.result import SWEEP_FILE

            done, made = sweep_config(
                wanted,
                batch=batch,
                limit=limit,
                on_stage=bar.stage,
                on_step=bar.step,
                on_estimate=estimates.take,
            )
        if as_json:
            description = json.loads((done / SWEEP_FILE).read_text(encoding="utf-8"))
            emit({"folder": str(done), **description, "estimate": estimates.as_dict()})
            return
        drawn = ", ".join(["grid.png", *sorted(path.name for path in done.glob("maps_*.png"))])
        out.print(Text(f"Wrote {len(made.cells)} image{'s' if len(made.cells) > 1 else ''} to {done}; see {drawn}."))
