"""Export maps: chosen words, layers, steps and kinds of files of a saved run, or of a config that is run first.

The same as `promptattn export`.

python scripts/export_maps.py out --words gato --words ratón --formats overlay --formats gray16 --out few
python scripts/export_maps.py configs/shapes.yaml --layers "up_blocks.1.*" --formats viewer --out fine
"""

import typer

from promptattn.cli import export

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
app.command()(export)

if __name__ == "__main__":
    app()
