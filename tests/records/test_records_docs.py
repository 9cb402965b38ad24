"""What docs/records.md shows is so."""

import re
from pathlib import Path

DOCS = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")


def test_the_code_prints_what_the_text_shows(tmp_path, monkeypatch, capsys):
    first, second = re.findall(r"^```python\n(.*?)^```", DOCS, flags=re.MULTILINE | re.DOTALL)
    (printed,) = re.findall(r"^```text\n(.*?)^```", DOCS, flags=re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "docs"}
    exec(compile(first, "records.md", "exec"), names)
    assert capsys.readouterr().out == printed
    assert (tmp_path / "early.png").is_file()
    exec(compile(second, "records.md", "exec"), names)
    assert names["mass"].shape[-1] == 2
