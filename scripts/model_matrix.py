"""The tables of docs/models.md, from the tables by which models are served and refused.

python scripts/model_matrix.py                 # writes them into docs/models.md
python scripts/model_matrix.py --check         # says whether they are as the package's tables are
"""

import sys
from pathlib import Path

from generated_page import run

import promptattn
from promptattn.processors.segments import TEXT_LAYOUTS

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
BEGIN, END = "<!-- made by scripts/model_matrix.py -->\n", "<!-- end -->\n"
FURTHER = ("text->text", "text->image", "image->image")


def page() -> str:
    """docs/models.md with its tables made anew."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{_served()}\n{_refused()}\n{END}{after}"


def _served() -> str:
    rows = [
        [
            model.family,
            model.weighting,
            *("yes" if relation in model.capture else "no" for relation in FURTHER),
            model.text_encoder,
            "plain text" if _spoken(model.denoiser) else "all",
        ]
        for model in promptattn.models()
        if model.refused is None
    ]
    further = [f"`{relation}`" for relation in FURTHER]
    return _table(["family", "weights act on", *further, "text encoders", "prompts"], rows)


def _refused() -> str:
    reasons: dict[str, dict[str, None]] = {}
    for model in promptattn.models():
        if model.refused is not None:
            reasons.setdefault(model.refused, {})[model.family] = None
    return _table(["refused", "because"], [[", ".join(names), reason] for reason, names in reasons.items()])


def _spoken(denoiser: str) -> bool:
    layout = TEXT_LAYOUTS.get(denoiser)
    return layout is not None and layout.spoken is not None


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(run(__doc__.splitlines()[0], PAGE, page))
