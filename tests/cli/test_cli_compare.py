"""`promptattn compare`: two saved folders in one page."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from promptattn.cli import app

sys.path.insert(0, str(Path(__file__).parents[1] / "maps"))

from synthetic import demo, picture


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    at = tmp_path_factory.mktemp("compared")
    demo(weights={}).save(at / "plain", image=picture())
    demo(weights={"rojo": 1.5}).save(at / "strong", image=picture())
    return at


def compare(folders, *options):
    return CliRunner().invoke(app, ["compare", str(folders / "plain"), str(folders / "strong"), *map(str, options)])


def test_it_writes_one_page_named_by_what_differs(folders, tmp_path):
    done = compare(folders, "--out", tmp_path / "red.html")
    assert done.exit_code == 0, done.output
    assert "Wrote" in done.output
    page = (tmp_path / "red.html").read_text(encoding="utf-8")
    assert "rojo ×1.5" in page
    assert "rojo ×1<" in page


def test_names_can_be_given(folders, tmp_path):
    assert compare(folders, "-o", tmp_path / "x.html", "--name", "weak", "--name", "strong").exit_code == 0
    assert '<option value="0">weak</option>' in (tmp_path / "x.html").read_text(encoding="utf-8")
    refused = compare(folders, "-o", tmp_path / "y.html", "--name", "weak")
    assert refused.exit_code == 2
    assert "--name is given twice" in " ".join(refused.output.split())


def test_a_page_that_is_there_is_kept(folders, tmp_path):
    (tmp_path / "red.html").write_text("mine")
    refused = compare(folders, "-o", tmp_path / "red.html")
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert (tmp_path / "red.html").read_text() == "mine"
    assert compare(folders, "-o", tmp_path / "red.html", "--force").exit_code == 0


def test_a_folder_without_maps_is_named(folders, tmp_path):
    done = CliRunner().invoke(app, ["compare", str(folders), str(folders / "plain"), "-o", str(tmp_path / "x.html")])
    assert done.exit_code == 1
    assert "There are no maps at" in " ".join(done.output.split())


def test_a_name_that_is_no_page_is_wrongly_asked_for(folders, tmp_path):
    refused = compare(folders, "-o", tmp_path / "red.png")
    assert refused.exit_code == 2
    assert "call it 'red.html'" in " ".join(refused.output.split())
    assert not list(tmp_path.iterdir())


def test_missing_folders_do_not_hide_a_wrong_name(tmp_path):
    done = CliRunner().invoke(app, ["compare", "a", "b", "-o", str(tmp_path / "x")])
    assert done.exit_code == 2
