"""From prompts to recordings on the pipeline that ships, what is kept of them, and what is written about them."""

import dataclasses
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from recordings import recording, recordings
from typer.testing import CliRunner

import promptattn
from promptattn.errors import ConfigError
from promptattn.run.loading.load import load_tokenizers
from promptattn.shapes.evaluation import peers
from promptattn.shapes.evaluation.cases import ABSENT_WEIGHT, absent_prompt, absent_words, make_cases, object_words
from promptattn.shapes.evaluation.chart import chart
from promptattn.shapes.evaluation.recording import Recording, record, record_absent
from promptattn.shapes.evaluation.report import markdown, short
from promptattn.shapes.evaluation.session import Session
from promptattn.shapes.evaluation.tables import absent_table, grounding_table

OPTIONS = {"num_inference_steps": 4, "guidance_scale": 4.0}
CASES = make_cases(3, 0)
SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def pipe():
    return promptattn.load("shapes")


@pytest.fixture(scope="module")
def made(pipe):
    """Three cases, with objects put into them: after four steps the judge finds few."""
    return record(pipe, CASES, OPTIONS)


# Cases.


def test_halves_languages_and_splits_are_crossed():
    cases = make_cases(64, 1)
    cells = [(case.half, case.language, case.split) for case in cases]
    assert {cells.count(cell) for cell in cells} == {8}
    assert [case.prompt for case in make_cases(8, 1)] == [case.prompt for case in cases[:8]]
    assert len({case.seed for case in cases}) == 64


def test_words_are_found_where_they_stand():
    for case in make_cases(40, 2):
        words = case.prompt.split()
        for (_, _), (word, occurrence) in object_words(case).items():
            assert words.count(word) > occurrence


def test_absent_words_are_absent_fit_and_weigh_next_to_nothing():
    tokenizers = load_tokenizers("shapes")
    for case in make_cases(40, 3):
        absent = absent_words(case)
        assert absent["shape"][0] not in {thing.shape for thing in case.scene.objects}
        assert absent["colour"][0] not in {thing.colour for thing in case.scene.objects}
        assert not {word for _, word in absent.values()} & set(case.prompt.split())
        encoder = promptattn.plan(tokenizers, absent_prompt(case)).encoders[0]
        assert len(encoder.chunks) == 1
        assert not encoder.cut
        weights = {word.text: word.weight for word in encoder.words}
        assert {weights.pop(word) for _, word in absent.values()} == {ABSENT_WEIGHT}
        assert set(weights.values()) == {1}


# Recordings.


def test_a_recording_is_what_the_maps_say(pipe, made):
    case = next(case for case, each in zip(CASES, made, strict=True) if each.words)
    found = made[CASES.index(case)]
    with promptattn.attend(pipe, case.prompt) as run:
        import torch

        image = pipe(**run.inputs, generator=torch.Generator().manual_seed(case.seed), **OPTIONS).images[0]
    assert np.abs(np.asarray(image, np.int16) - found.image).max() <= 1  # a batch may round otherwise
    assert tuple(found.layers) == run.maps.layers
    for index, word in enumerate(found.words):
        for name, layer in found.layers.items():
            expected = run.maps[word.text, word.occurrence].at_layer(name)
            np.testing.assert_allclose(layer.steps[:, index].mean(axis=0), expected, atol=1e-4)
            np.testing.assert_allclose(layer.heads[:, index].mean(axis=0), expected, atol=1e-4)
            assert len(layer.steps) == 4
            np.testing.assert_allclose(layer.mass.sum(axis=-1), 1, atol=1e-4)


def test_words_carry_the_masks_of_what_is_seen(made):
    assert sum(len(each.words) for each in made) > 0
    for case, each in zip(CASES, made, strict=True):
        assert (each.half, each.language) == (case.half, case.language)
        for word in each.words:
            assert word.own.shape == (64, 64)
            assert word.present
            if word.other is not None:
                assert not (word.own & word.other).any()


def test_absent_words_are_recorded_and_leave_the_picture_alone(pipe, made):
    found = record_absent(pipe, CASES, OPTIONS)
    absent = [word for each in found for word in each.words if not word.present]
    assert absent
    known = {text for case in CASES for _, text in absent_words(case).values()}
    assert {word.text for word in absent} <= known
    for each in found:
        for index, word in enumerate(each.words):
            largest = max(float(layer.steps[:, index].max()) for layer in each.layers.values())
            assert 0 < largest < (1 if word.present else 0.02)


def test_recordings_are_read_back_exactly(tmp_path):
    whole = dataclasses.replace(recording(), peer={"daam": np.ones((4, 32, 32), np.float32)}, different={"daam": 1})
    whole.save(tmp_path / "one.npz")
    read = Recording.load(tmp_path / "one.npz")
    np.testing.assert_array_equal(read.image, whole.image)
    for mine, other in zip(read.words, whole.words, strict=True):
        np.testing.assert_array_equal(mine.own, other.own)
        np.testing.assert_array_equal(mine.other, other.other)
        for part in ("role", "text", "occurrence", "thing", "seen", "present"):
            assert getattr(mine, part) == getattr(other, part)
    for name, layer in whole.layers.items():
        for part in ("steps", "heads", "mass"):
            np.testing.assert_array_equal(getattr(read.layers[name], part), getattr(layer, part))
    assert (read.half, read.language, read.different) == (whole.half, whole.language, whole.different)
    np.testing.assert_array_equal(read.peer["daam"], whole.peer["daam"])


def test_a_session_goes_on_where_it_stopped(pipe, tmp_path):
    lines = []
    first = Session(pipe, OPTIONS, tmp_path, told=lines.append).recordings(CASES[:1])
    more = Session(pipe, OPTIONS, tmp_path, told=lines.append).recordings(CASES[:2])
    assert lines == ["case: 1 of 1", "case: 1 of 1"]
    np.testing.assert_array_equal(first[0].image, more[0].image)
    again = Session(None, OPTIONS, tmp_path).recordings(CASES[:2])  # nothing is left to paint
    np.testing.assert_array_equal(again[1].image, more[1].image)


# Peers.


def test_a_peer_that_cannot_be_asked_says_why(pipe, monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert peers.why_not("daam", pipe) == "daam is not installed"
    monkeypatch.setattr(peers, "find_spec", lambda name: object())
    assert peers.why_not("daam", pipe) is None
    assert "UNet" in peers.why_not("daam", SimpleNamespace(transformer=None))
    with pytest.raises(ConfigError, match="no peer 'dam'; choose one of daam, attention-map-diffusers"):
        peers.peer("dam")


@pytest.mark.parametrize("name", peers.PEERS)
def test_a_peer_gives_maps_of_the_same_picture(pipe, made, name):
    if importlib.util.find_spec(peers.PEERS[name][0]) is None:
        pytest.skip(f"{peers.PEERS[name][0]} is not installed")
    case = CASES[0]
    words = list(object_words(case).values())
    image, maps = peers.peer(name)(pipe, case.prompt, words, case.seed, OPTIONS)
    assert np.abs(image.astype(np.int16) - made[0].image).max() <= 1
    assert maps.shape == (len(words), 64, 64)
    assert maps.dtype == np.float32
    assert (maps.std(axis=(1, 2)) > 0).all()


# What is written.


@pytest.fixture(scope="module")
def report():
    pictures = {"all": {"n": 8.0, "colour": 100.0}, "chases": {"n": 0.0, "colour": float("nan")}}
    return {"pictures": pictures, "maps": grounding_table(recordings(6)) + absent_table(recordings(2))}


def test_the_markdown_has_every_table_with_even_lines(report):
    text = markdown(report)
    assert text.count("### ") == 11  # pictures, and all of the maps but peers, as none was asked
    for block in text.split("\n\n"):
        widths = {line.count(" | ") for line in block.splitlines() if line.startswith("| ") and "---" not in line}
        assert len(widths) <= 1, block
    assert "| chases | 0.0 | - |" in text
    assert "best head: on the first half up_blocks.0 head 1; on the second up_blocks.0 head 1." in text


def test_layers_have_short_names():
    assert short("up_blocks.1.attentions.0.transformer_blocks.0.attn2") == "up_blocks.1.attentions.0"
    assert short("up_blocks.1.attentions.0.transformer_blocks.0.attn2 head 3") == "up_blocks.1.attentions.0 head 3"
    assert short("transformer_blocks.3.attn") == "transformer_blocks.3"
    assert short("grid 16 x 16") == "grid 16 x 16"


def test_the_figure_has_a_line_of_panels_per_model(report):
    one, two = chart({"A": report}), chart({"A": report, "B": report})
    assert one.width == two.width
    assert two.height > 1.5 * one.height
    assert len(np.unique(np.asarray(one).reshape(-1, 3), axis=0)) > 20


def test_the_script_writes_report_tables_and_sheet(tmp_path):
    spec = importlib.util.spec_from_file_location("evaluate_shapes", SCRIPTS / "evaluate_shapes.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    import typer

    app = typer.Typer()
    app.command()(script.main)
    out, sheet = tmp_path / "report.json", tmp_path / "sheet.png"
    few = ["--limit", "4", "--steps", "3", "--out", str(out), "--sheet", str(sheet)]
    result = CliRunner().invoke(app, few, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["pictures"]["all"]["n"] == 4
    assert {row["kind"] for row in report["maps"]} >= {"rule", "layer", "absent"}
    assert out.with_suffix(".md").read_text(encoding="utf-8").startswith("### Pictures right")
    assert sheet.is_file()
    assert CliRunner().invoke(app, ["--peer", "dam"]).exit_code != 0
