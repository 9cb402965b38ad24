"""Make images from a config and a prompt, with a map of every word. The same as `promptattn generate`.

python scripts/generate.py --config configs/shapes.yaml
python scripts/generate.py --config configs/sdxl.yaml "a (red:1.4) cat" --set weighting.layers=up_blocks --out out/cat
"""

import typer

from promptattn.cli import generate

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
app.command()(generate)

if __name__ == "__main__":
    app()
