"""The command line. Thin: every command calls the public API, and imports it only when it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from promptattn.console import note, out, progress, told
from promptattn.errors import ConfigError

if TYPE_CHECKING:
    from promptattn.config import RunConfig
    from promptattn.config.reading import Option
    from promptattn.prompt import EncoderPlan
    from promptattn.run.from_config import Finished

__all__ = ["app", "export", "generate", "main", "tokens"]

app = typer.Typer(
    help="Weigh the words of a text-to-image prompt inside the attention, and see where each of them went.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

Prompt = Annotated[str, typer.Argument(help='The prompt; `(word:1.4)` weighs a word, e.g. "a (red:1.4) cat".')]
Negative = Annotated[str | None, typer.Option("--negative", "-n", help="What to stay away from, weighted likewise.")]
Model = Annotated[str, typer.Option("--model", "-m", help="A preset (shapes, sdxl ...), a folder, or a hub id.")]
Config = Annotated[str | None, typer.Option("--config", "-c", help="A YAML file of settings, or a preset's name.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Any setting of the config, e.g. `weighting.layers=mid_block`.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output folder.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the libraries' own messages and full errors.")]


@app.callback()
def _root() -> None:
    """Keeps the commands named even while there are few."""


@app.command()
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
    where: Annotated[
        str | None, typer.Option(help="Where weights act: auto, denoiser, text or both.  [default: auto]")
    ] = None,
    strength: Annotated[
        str | None, typer.Option(help='Exponent on weights, or "exact" for plain odds.  [default: 6]')
    ] = None,
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
        _run(wanted)


@app.command()
def export(
    source: Annotated[
        str,
        typer.Argument(help="An exported folder, its maps.npz or maps.safetensors, or a config (.yaml) to run first."),
    ],
    folder: Annotated[str, typer.Option("--out", "-o", help="Folder to write.")] = "maps",
    force: Force = False,
    words: Annotated[
        list[str] | None, typer.Option(help='Only this word or phrase; `[a, 1]` is the second "a".')
    ] = None,
    layers: Annotated[
        list[str] | None, typer.Option(help="Only these layers: a name, its beginning, or a glob.")
    ] = None,
    steps: Annotated[
        str | None, typer.Option(help="Only these steps: `3`, `[0, 5]`, `{start: 0.0, stop: 0.4}`; needs per_step.")
    ] = None,
    formats: Annotated[
        list[str] | None, typer.Option(help="overlay, gray16, sheet, npz, safetensors, viewer.  [default: all]")
    ] = None,
    combine: Annotated[
        str | None, typer.Option(help="How layers become one map: coherence, finest or mean.  [default: as saved]")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="How opaque overlays are at their strongest.")] = None,
    colormap: Annotated[str | None, typer.Option(help="ember, cubehelix or gray.")] = None,
    images: Annotated[
        list[Path] | None, typer.Option("--image", help="Picture to lay the maps over.  [default: the saved one]")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="Any setting, where SOURCE is a config.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Export saved maps once more: chosen words, layers, steps and kinds of files. Repeat an option to choose several.

    **Example:** `promptattn export out --words gato --words ratón --layers "up_blocks.1.*" --formats overlay --out few`
    """
    with told(verbose):
        from promptattn.config import ExportConfig, load_config, read_section

        options: list[Option] = [
            ("--out", "folder", folder),
            ("--force", "force", force or None),
            ("--words", "words", [_yaml(word) if word.startswith("[") else word for word in words] if words else None),
            ("--layers", "layers", layers or None),
            ("--steps", "steps", None if steps is None else _yaml(steps)),
            ("--combine", "combine", combine),
            ("--formats", "formats", formats or None),
            ("--alpha", "alpha", alpha),
            ("--colormap", "colormap", colormap),
        ]
        if Path(source).suffix in (".yaml", ".yml"):
            if images:
                raise ConfigError("--image is for saved maps; a config makes its own images.")
            _run(load_config(source, sets or (), [(name, f"export.{key}", value) for name, key, value in options]))
            return
        if sets:
            raise ConfigError(f"--set needs a config (.yaml) to change, and {source} is saved maps.")
        from promptattn.run.from_config import export_saved

        export_saved(source, read_section("export", ExportConfig, options), images=images or None)
        out.print(Text(f"Wrote {folder}."))


@app.command()
def tokens(
    prompt: Prompt,
    negative: Negative = None,
    model: Model = "shapes",
    verbose: Verbose = False,
) -> None:
    """Show how a prompt is cut into tokens: word, weight, chunk, and what is cut off, for every text encoder.

    **Example:** `promptattn tokens "un gato (rojo:1.4) persigue a un ratón gris"`
    """
    with told(verbose):
        from promptattn.prompt import plan
        from promptattn.run.load import load_tokenizers

        planned = plan(load_tokenizers(model), prompt, negative)
        sides = [("prompt", planned.encoders)] + ([("negative prompt", planned.negative)] if negative else [])
        for side, encoders in sides:
            for encoder in encoders:
                out.print(_token_table(f"{side}, {encoder.name}", encoder))
                if encoder.cut:
                    out.print(Text("cut off: " + " ".join(word.text for word in encoder.cut), style="bold red"))
        for diagnostic in planned.diagnostics:
            note(diagnostic.severity, str(diagnostic))


def main() -> None:
    """Entry point of the console command."""
    app()


def _run(config: "RunConfig") -> None:
    from promptattn.run.from_config import run_config

    with progress() as bar:
        finished = run_config(config, on_stage=bar.stage, on_step=bar.step)
    for one in finished:
        _summary(one)


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text  # which the setting then refuses, in its own terms


def _token_table(title: str, encoder: "EncoderPlan") -> Table:
    chunks = len(encoder.chunks)
    used = f"{len(encoder.tokens)} tokens in {chunks} chunk{'s' if chunks > 1 else ''} of {encoder.window}"
    table = Table(title=Text(f"{title}: {used}"), title_justify="left")
    for name, justify in (("#", "right"), ("id", "right"), ("token", "left"), ("word", "left"), ("weight", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("chunk", justify="right")
    for token in encoder.tokens:
        word = "" if token.word is None else encoder.words[token.word].text
        weight = f"{token.weight:g}"
        # Text, not markup: a prompt may well hold square brackets.
        cells = (str(token.index), str(token.id), token.text, word, weight, str(token.chunk + 1))
        table.add_row(*map(Text, cells), style="bold" if token.weight != 1 else None)
    return table


def _summary(finished: "Finished") -> None:
    made, folder = finished.generation, finished.folder
    if made.maps is None:
        out.print(Text(f"Wrote {len(made.images)} image{'s' if len(made.images) > 1 else ''} to {folder}."))
        return
    first = made.maps.image(0)
    table = Table("word", "weight", "share")
    for word in first.words:
        if first.state(word) == "recorded":
            heat = first[word]
            table.add_row(Text(word.text), f"{word.weight:g}", f"{heat.share:.1%}")
    out.print(Text(f"Where the words went in the image of seed {made.seed}:"))
    out.print(table)
    page = folder / "index.html"
    shown = f"Open {page} in a browser; hover a word to see where it went." if page.is_file() else f"Wrote {folder}."
    out.print(Text(shown))


if __name__ == "__main__":
    main()
