"""`promptattn compare`: two saved results side by side, in one page."""

from typing import Annotated

import typer
from rich.text import Text

from promptattn.cli import completing
from promptattn.cli.options import Force, Json, Verbose, whole
from promptattn.console import emit, out, told, waiting
from promptattn.errors import ConfigError

__all__ = ["compare"]


def compare(
    before: Annotated[str, typer.Argument(help="A folder that `generate` wrote: what the other is measured against.")],
    after: Annotated[str, typer.Argument(help="A folder of the same seed with other weights or words.")],
    file: Annotated[str, typer.Option("--out", "-o", help="The page to write.")] = "compare.html",
    names: Annotated[
        list[str] | None, typer.Option("--name", help="What each is called, given twice.  [default: what differs]")
    ] = None,
    index: Annotated[
        int, typer.Option("--image", parser=whole, help="Which image, where a folder has several; from 0.")
    ] = 0,
    colormap: Annotated[
        str, typer.Option(autocompletion=completing.colormaps, help="ember, cubehelix or gray.")
    ] = "ember",
    force: Force = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Put two results side by side: images, maps, their difference, and what each word gained or lost.

    **Example:** `promptattn compare plain strong --out red.html`
    """
    with told(verbose, as_json=as_json):
        if names is not None and len(names) != 2:
            raise ConfigError("--name is given twice, for what was before and for what came after.")
        with waiting("Comparing"):
            from promptattn.export import compare as compared
            from promptattn.export.comparison import page_file

            page_file(file)  # said before anything is read
            found = compared(before, after, names=(names[0], names[1]) if names else None, index=index)
        saved = found.save(file, colormap=colormap, force=force)
        if as_json:
            emit({"file": str(saved)})
        else:
            out.print(Text(f"Wrote {saved}; open it in a browser."))
