"""The tables of docs/models.md are what the package serves and refuses."""

import sys
from pathlib import Path

import promptattn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import model_matrix  # noqa: E402


def test_the_tables_are_as_the_package_has_them():
    made = model_matrix.page()
    assert model_matrix.PAGE.read_text(encoding="utf-8") == made, "run python scripts/model_matrix.py"
    for model in promptattn.models():
        assert model.family in made


def test_families_that_the_readme_names_are_served():
    served = [model.family for model in promptattn.models() if model.refused is None]
    assert len(served) > 30, "the README says so"
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = ("Flux.2", "Qwen-Image", "Z-Image", "PixArt", "CogView", "Lumina 2", "Sana")
    for name in named:
        assert name in text
        assert any(family.startswith(name) for family in served), name
