"""`promptattn compare`: two saved results side by side, in one page."""

from typing import Annotated

import typer
from rich.text import Text

from promptattn.cli.options import Force, Verbose
from promptattn.console import out, told
from promptattn.errors import ConfigError

__all__ = ["compare"]


def compare(
    before: Annotated[str, typer.Argument(help="A folder that `generate` wrote: what the other is measured against.")],
    after: Annotated[str, typer.Argument(help="A folder of the same seed with other weights or words.")],
    file: Annotated[str, typer.Option("--out", "-o", help="The page to write.")] = "compare.html",
    names: Annotated[
        list[str] | None, typer.Option("--name", help="What each is called, given twice.  [default: what differs]")
    ] = None,
    index: Annotated[int, typer.Option("--image", help="Which image, where a folder has several.")] = 0,
    colormap: Annotated[str, typer.Option(help="ember, cubehelix or gray.")] = "ember",
    force: Force = False,
    verbose: Verbose = False,
) -> None:
    """Put two results side by side: images, maps, their difference, and what each word gained or lost.

    **Example:** `promptattn compare plain strong --out red.html`
    """
    with told(verbose):
        if names is not None and len(names) != 2:
            raise ConfigError("--name is given twice, for what was before and for what came after.")
        from promptattn.export import compare as compared
        from promptattn.export.comparison import page_file

        page_file(file)  # said before anything is read
        found = compared(before, after, names=(names[0], names[1]) if names else None, index=index)
        out.print(Text(f"Wrote {found.save(file, colormap=colormap, force=force)}."))
