"""CITATION.cff is of this version, and has what the Citation File Format 1.2.0 asks for."""

from pathlib import Path

import yaml

import promptattn

ROOT = Path(__file__).parents[2]


def test_the_citation_is_of_this_package():
    read = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert read["cff-version"] == "1.2.0"
    assert read["version"] == promptattn.__version__
    assert read["title"].startswith("promptattn")
    assert read["license"] == "Apache-2.0"
    assert read["authors"]
    assert all(author["name"] for author in read["authors"])
    assert read["message"]
