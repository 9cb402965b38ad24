"""docs/api.md is what the docstrings say, and names everything public."""

import sys
from pathlib import Path

import promptattn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import api_reference  # noqa: E402


def test_the_page_is_as_the_docstrings_are():
    made = api_reference.page()
    assert api_reference.PAGE.read_text(encoding="utf-8") == made, "run python scripts/api_reference.py"
    for name in promptattn.__all__:
        assert f"### {name}\n" in made
