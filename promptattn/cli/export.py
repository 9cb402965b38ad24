"""`promptattn export`: saved maps once more, chosen and written anew."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from promptattn.cli import completing
from promptattn.cli.options import Force, Json, Metadata, Verbose, number
from promptattn.cli.running import run
from promptattn.console import emit, out, told, waiting
from promptattn.errors import ConfigError

if TYPE_CHECKING:
    from promptattn.config.reading import Option

__all__ = ["export"]


def export(
    source: Annotated[
        str,
        typer.Argument(help="An exported folder, its maps.npz or maps.safetensors, or a config (.yaml) to run first."),
    ],
    folder: Annotated[str, typer.Option("--out", "-o", help="Folder to write.")] = "maps",
    force: Force = False,
    words: Annotated[
        list[str] | None,
        typer.Option("--words", "--word", help='Only this word or phrase; "[a, 1]" is the second "a".'),
    ] = None,
    layers: Annotated[
        list[str] | None, typer.Option(help="Only these layers: a name, its beginning, or a glob.")
    ] = None,
    steps: Annotated[
        str | None,
        typer.Option(help="Only these steps: 3, [0, 5], {start: 0.0, stop: 0.4}; needs per_step."),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            autocompletion=completing.formats, help="overlay, gray16, sheet, npz, safetensors, viewer.  [default: all]"
        ),
    ] = None,
    combine: Annotated[
        str | None,
        typer.Option(
            autocompletion=completing.rules,
            help="How layers become one map: coherence, finest or mean.  [default: as saved]",
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(parser=number, help="How opaque overlays are at their strongest.  [default: 0.9]"),
    ] = None,
    colormap: Annotated[
        str | None,
        typer.Option(autocompletion=completing.colormaps, help="ember, cubehelix or gray.  [default: ember]"),
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option("--image", help="Picture to lay the maps over.  [default: the saved one]")
    ] = None,
    metadata: Metadata = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", autocompletion=completing.settings, help="Any setting, where the source is a config."
        ),
    ] = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Export saved maps once more: chosen words, layers, steps and kinds of files. Repeat an option to choose several.

    **Example:** `promptattn export out --words gato --words ratón --layers "up_blocks.1.*" --formats overlay --out few`
    """
    with told(verbose, as_json=as_json):
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
            ("--no-metadata", "metadata", metadata),
        ]
        if Path(source).suffix in (".yaml", ".yml"):
            if images:
                raise ConfigError("--image is for saved maps; a config makes its own images.")
            run(
                load_config(source, sets or (), [(name, f"export.{key}", value) for name, key, value in options]),
                as_json=as_json,
            )
            return
        if sets:
            raise ConfigError(f"--set needs a config (.yaml) to change, and {source} is saved maps.")
        chosen = read_section("export", ExportConfig, options)
        with waiting("Exporting"):
            from promptattn.run.from_config import export_saved

            export_saved(source, chosen, images=images or None)
        if as_json:
            emit({"folder": folder})
        else:
            out.print(Text(f"Wrote {folder}."))


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text  # which the setting then refuses, in its own terms
