"""The figure of docs/maps.md: where words are grounded, by layer and part of the run, from reports of evaluate_shapes.

python scripts/maps_figure.py UNet=docs/figures/maps_unet.json DiT=docs/figures/maps_dit.json
"""

import argparse
import json
from pathlib import Path

from promptattn.shapes.evaluation.chart import chart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", nargs="+", metavar="TITLE=FILE", help="reports of evaluate_shapes.py, with titles")
    parser.add_argument("--out", type=Path, default=Path("docs/figures/maps.png"))
    options = parser.parse_args()
    named = [report.partition("=") for report in options.reports]
    picture = chart({title: json.loads(Path(file).read_text(encoding="utf-8")) for title, _, file in named})
    options.out.parent.mkdir(parents=True, exist_ok=True)
    picture.save(options.out, optimize=True)


if __name__ == "__main__":
    main()
