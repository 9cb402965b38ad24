"""The folder of an export: every picture is there, named safely, and means what `maps.json` says of it."""

import dataclasses
import json
import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from synthetic import demo, picture

from promptattn.errors import ExportError, PromptAttnWarning
from promptattn.export import safe_name
from promptattn.export.text import drawable, fit, font, legible, wrap


def pictures(folder):
    return json.loads((folder / "maps.json").read_text(encoding="utf-8"))["pictures"]


def test_everything_is_there(exported):
    maps, folder = exported
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "contact_sheet.png",
        "image.png",
        "index.html",
        "maps.json",
        "maps.npz",
        "maps.safetensors",
        "markers",
        "patches",
        "text_attention.png",
        "tokens",
        "words",
    }
    for kind, count in [("words", 8), ("tokens", len(maps.tokens)), ("markers", 3), ("patches", 1)]:
        files = sorted(path.name for path in (folder / kind).iterdir())
        assert len(files) == 2 * count
        assert sum(name.endswith(".overlay.png") for name in files) == count
    assert (folder / "words" / "006_raton.overlay.png").is_file()
    assert oct((folder / "maps.safetensors").stat().st_mode) == oct((folder / "maps.npz").stat().st_mode)


def test_gray_pictures_scale_as_described(exported):
    maps, folder = exported
    entries = {(entry["kind"], entry["index"]): entry for entry in pictures(folder)}
    assert len(entries) == 8 + len(maps.tokens) + 3 + 1
    for key, heat in [(("word", 1), maps["gato"]), (("token", 4), maps.token(4)), (("patch", 0), maps.patch(0))]:
        entry = entries[key]
        with Image.open(folder / entry["file"]) as stored:
            assert (stored.mode, stored.size) == ("I;16", (160, 96))
            mass = np.asarray(stored) / 65535 * entry["mass_at_65535"]
        np.testing.assert_allclose(mass, heat.array, atol=entry["mass_at_65535"] / 65535)
        assert entry["share"] == pytest.approx(heat.share)
        assert entry["label"] == heat.label


def test_overlays_are_the_ones_of_the_api(exported):
    maps, folder = exported
    with Image.open(folder / "words" / "001_gato.overlay.png") as stored:
        assert stored.tobytes() == maps["gato"].overlay(picture((96, 160))).tobytes()


def test_a_batch_has_a_folder_for_each_image(tmp_path):
    maps = demo(images=2)
    folder = maps.save(tmp_path / "out", image=[picture(), picture()])
    assert (folder / "image_0" / "words" / "001_gato.map.png").is_file()
    assert (folder / "image_1" / "contact_sheet.png").is_file()
    assert not (folder / "words").exists()
    entry = next(entry for entry in pictures(folder) if entry["image"] == 1 and entry["label"] == "gato")
    assert entry["file"] == "image_1/words/001_gato.map.png"
    assert entry["share"] == pytest.approx(maps.image(1)["gato"].share)


def test_images_must_fit_the_maps(tmp_path):
    with pytest.raises(ExportError, match="maps are of 2 images, but 1 were given"):
        demo(images=2).save(tmp_path / "out", image=picture())
    assert list(tmp_path.iterdir()) == []


def test_an_image_of_another_size_is_drawn_on_at_its_own(tmp_path, maps):
    folder = maps.save(tmp_path / "out", image=picture((200, 200)))
    with Image.open(folder / "words" / "001_gato.overlay.png") as stored:
        assert stored.size == (200, 200)


def test_without_an_image(tmp_path, maps):
    folder = maps.save(tmp_path / "out")
    assert not (folder / "image.png").exists()
    assert (folder / "words" / "001_gato.overlay.png").is_file()


def test_force(tmp_path, maps):
    folder = maps.save(tmp_path / "out")
    (folder / "note.txt").write_text("old")
    with pytest.raises(ExportError, match="--force"):
        maps.save(folder)
    assert (folder / "note.txt").exists()
    maps.save(folder, force=True)
    assert not (folder / "note.txt").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "🐱 chases 猫",
        "قطة تطارد فأرا",
        "../../etc/passwd C:\\con nul.txt",
        "</script><img src=x onerror=alert(1)>",
        "a\u0000b \ud83d half",
        "x" * 600,
    ],
)
def test_any_prompt_can_be_exported(tmp_path, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = demo(text=text, size=(32, 48)).save(tmp_path / "out", image=picture((32, 48)))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for path in folder.rglob("*"):
        assert re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", path.name)


def test_a_word_that_was_cut_has_no_picture(tmp_path):
    folder = demo(cut=("gris",)).save(tmp_path / "out")
    assert not list((folder / "words").glob("007*"))
    assert len(list((folder / "words").glob("*.map.png"))) == 7


def test_empty_maps_are_told_once(tmp_path, maps):
    layers = []
    for layer in maps.records:
        mass = layer.mass.copy()
        mass[..., 2:4] = 0
        layers.append(dataclasses.replace(layer, mass=mass))
    with pytest.warns(PromptAttnWarning, match=r"^Nothing attended to 'gato', 'rojo': their maps are zero") as told:
        dataclasses.replace(maps, records=tuple(layers)).save(tmp_path / "out")
    assert len(told) == 1


def test_thousands_of_tokens_get_no_picture_each(tmp_path, monkeypatch):
    monkeypatch.setattr("promptattn.export.writing.MOST_TOKENS", 9)
    with pytest.warns(PromptAttnWarning, match="10 tokens: pictures are written of words only"):
        folder = demo().save(tmp_path / "out")
    assert not (folder / "tokens").exists()
    assert {entry["kind"] for entry in pictures(folder)} == {"word", "marker", "patch"}


def test_many_windows_of_text_stay_one_readable_picture(tmp_path):
    maps = demo()
    many = tuple(dataclasses.replace(maps.text_attention[0], encoder=f"part {i}") for i in range(60))
    folder = dataclasses.replace(maps, text_attention=many).save(tmp_path / "out")
    with Image.open(folder / "text_attention.png") as matrix:
        assert max(matrix.size) < 4000
    page = (folder / "index.html").read_text(encoding="utf-8")
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert len(data["views"][0]["relations"]) == 8


def test_a_very_long_prompt_gives_a_sheet_one_can_open(tmp_path):
    text = " ".join(f"w{i}" for i in range(120))
    folder = demo(text=text, size=(32, 32)).save(tmp_path / "out")
    with Image.open(folder / "contact_sheet.png") as sheet:
        assert sheet.width * sheet.height < 60e6
    with Image.open(folder / "text_attention.png") as matrix:
        assert max(matrix.size) < 4000


@given(st.integers(0, 5000), st.text(max_size=60))
def test_names_are_safe(index, text):
    name = safe_name(index, text)
    assert re.fullmatch(r"\d{3,}(_[a-z0-9]([a-z0-9-]*[a-z0-9])?)?", name)
    assert int(name.split("_")[0]) == index
    assert len(name) < 40


def test_names_keep_what_ascii_can():
    assert safe_name(3, "Ratón") == "003_raton"
    assert safe_name(3, "../..\\etc") == "003_etc"
    assert safe_name(12, "🐱") == "012"
    assert safe_name(0, "قطة") == "000"


def test_the_font_draws_accents_and_tells_what_it_cannot():
    assert drawable("ratón", "word 6") == "ratón"
    assert drawable("rato\u0301n", "word 6") == "ratón"
    assert drawable("קטן", "word 1") == "קטן"
    for text in ("🐱", "猫", "\ud800", "\u0007", ""):
        assert drawable(text, "word 2") == "word 2"
    assert legible("a 🐱🐱\nb") == "a \ufffd b"
    plain, accented = (bytes(font(24).getmask(letter)) for letter in "oó")
    assert plain != accented


@given(st.text(max_size=200), st.integers(40, 300))
def test_text_is_shortened_to_its_room(text, width):
    plain = legible(text)
    assert font(14).getlength(fit(plain, 14, width)) <= max(width, font(14).getlength("…"))
    assert len(wrap(plain, 14, width, 3)) <= 3
