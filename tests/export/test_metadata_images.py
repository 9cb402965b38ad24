"""Image files that say how they were made: written, read, and every way in which a file can be bad."""

import json
import struct
import subprocess
import sys
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

import promptattn
from promptattn.cli import app
from promptattn.errors import ExportError, PromptAttnError
from promptattn.export import read_image, write_image
from promptattn.export.metadata import carriers

SETTINGS = {
    "prompt": ["un ratón (gris:1.2), 日本 🐱"],
    "negative_prompt": None,
    "seed": 7,
    "num_inference_steps": 3,
    "guidance_scale": 4.0,
    "num_images_per_prompt": 1,
    "syntax": "a1111",
    "model": "shapes",
}


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8))


def png(path, *texts, pixels=True):
    """A PNG with these (key, text) chunks."""
    info = PngInfo()
    for key, text in texts:
        info.add_text(key, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(path, *chunks):
    """A PNG of one pixel with these chunks before its pixels."""
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    tail = chunk(b"IDAT", zlib.compress(b"\0\0\0\0")) + chunk(b"IEND", b"")
    path.write_bytes(head + b"".join(chunks) + tail)
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
def test_what_is_written_is_read(image, tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    write_image(image, path, SETTINGS)
    read = read_image(path)
    assert (read.source, read.prompt, read.negative_prompt) == ("promptattn", SETTINGS["prompt"][0], None)
    assert read.settings | {"prompt": SETTINGS["prompt"]} == SETTINGS | {"height": 24, "width": 16}
    assert read.diagnostics == ()


@pytest.mark.parametrize("prompt", ["a cat", "un ratón", "日本 🐱", "half \ud800 a pair", "nul \0 byte", "a\r\nb"])
def test_any_prompt_is_carried_and_ours_exactly(image, tmp_path, prompt):
    for name in ("x.png", "x.jpg", "x.webp"):
        write_image(image, tmp_path / name, SETTINGS | {"prompt": [prompt]})
        assert read_image(tmp_path / name).prompt == prompt
        seen = carriers.read_texts(tmp_path / name).parameters
        assert seen.split("\nSteps")[0] == prompt.replace("\ud800", "\ufffd").replace("\0", "\ufffd").replace("\r", "")


def test_a_png_keeps_its_pixels_to_the_bit(image, tmp_path):
    write_image(image, tmp_path / "with.png", SETTINGS)
    write_image(image, tmp_path / "without.png", None)
    with Image.open(tmp_path / "with.png") as told, Image.open(tmp_path / "without.png") as silent:
        assert np.array_equal(np.asarray(told), np.asarray(image))
        assert np.array_equal(np.asarray(silent), np.asarray(image))
        assert set(told.text) == {"parameters", "promptattn"}
        assert silent.text == {}


def test_pillow_and_a1111_find_the_text_where_they_look(image, tmp_path):
    write_image(image, tmp_path / "x.png", SETTINGS | {"prompt": ["un ratón"]})
    write_image(image, tmp_path / "x.jpg", SETTINGS, quality=90)
    data = (tmp_path / "x.png").read_bytes()
    assert b"tEXtparameters\0un rat\xf3n\n" in data  # Latin-1 as it is
    comment = Image.open(tmp_path / "x.jpg").getexif().get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\0"
    assert comment[8:].decode("utf-16-be").startswith(SETTINGS["prompt"][0])


def test_a_jpeg_without_room_is_refused_and_others_have_it(image, tmp_path):
    long = SETTINGS | {"prompt": ["a cat, " * 10_000]}
    with pytest.raises(ExportError, match="room for 64 KB"):
        write_image(image, tmp_path / "x.jpg", long)
    assert not (tmp_path / "x.jpg").exists()
    for name in ("x.png", "x.webp"):
        write_image(image, tmp_path / name, long)
        assert read_image(tmp_path / name).prompt == long["prompt"][0]


def test_other_kinds_of_files_are_refused(image, tmp_path):
    with pytest.raises(ExportError, match=r"x\.bmp.*PNG, JPEG or WebP"):
        write_image(image, tmp_path / "x.bmp", SETTINGS)
    write_image(image, tmp_path / "x.bmp", None)


def test_text_of_a1111_is_read_from_every_carrier(image, tmp_path):
    text = "a (red:1.3) cat, ratón\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x768"
    png(tmp_path / "t.png", ("parameters", text))
    for order in ("utf-16-be", "utf-16-le", "utf-16"):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode(order)
        image.save(tmp_path / f"{order}.jpg", exif=exif)
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + text.encode()
    image.save(tmp_path / "ascii.webp", exif=exif)
    exif.get_ifd(0x8769)[0x9286] = text.encode()
    image.save(tmp_path / "bare.jpg", exif=exif)
    for name in ("t.png", "utf-16-be.jpg", "utf-16-le.jpg", "utf-16.jpg", "ascii.webp", "bare.jpg"):
        read = read_image(tmp_path / name)
        assert (read.source, read.prompt, read.raw) == ("a1111", "a (red:1.3) cat, ratón", text), name
        assert (read.settings["width"], read.settings["height"]) == (512, 768)
        assert read.settings["scheduler"]["name"] == "EulerDiscreteScheduler"


def test_text_behind_the_pixels_is_found(tmp_path):
    path = png(tmp_path / "x.png")
    text = chunk(b"tEXt", b"parameters\0a cat\nSteps: 2, Seed: 3, CFG scale: 4")
    path.write_bytes(path.read_bytes()[:-12] + text + chunk(b"IEND", b""))
    assert read_image(path).settings["seed"] == 3


def test_damaged_json_gives_way_to_the_other_text(tmp_path):
    path = png(
        tmp_path / "x.png", ("parameters", "a cat\nSteps: 2, Seed: 3, CFG scale: 4"), ("promptattn", '{"format":')
    )
    read = read_image(path)
    assert (read.source, read.settings["seed"]) == ("a1111", 3)
    assert "damaged" in str(read.diagnostics[0])


def record(**changes):
    data = {"format": "promptattn-image", "version": 1, "image": 0, "settings": {"prompt": ["a cat"], "seed": 7}}
    return json.dumps(data | changes)


def nested(depth):
    return record().replace('"a cat"', "[" * depth + "]" * depth)


BAD_JSON = {
    "not JSON": "hello",
    "cut off": record()[:-10],
    "a list": "[1, 2]",
    "another format": record(format="else"),
    "a newer version": record(version=2),
    "nested 10,000 deep": nested(10_000),
    "nested 300,000 deep": nested(300_000),
    "NaN": record().replace("7", "NaN"),
    "infinite": record().replace("7", "-Infinity"),
    "too large": record().replace("7", "1e400"),
    "a seed of 5,000 digits": record().replace("7", "7" * 5_000),
    "no settings": record(settings=None),
    "a prompt that is a number": record(settings={"prompt": [3], "seed": 7}),
    "a prompt without a list": record(settings={"prompt": "a cat", "seed": 7}),
    "no prompts": record(settings={"prompt": [], "seed": 7}),
    "a seed that is text": record(settings={"prompt": ["a"], "seed": "7"}),
    "no seed": record(settings={"prompt": ["a"]}),
    "too few seeds": record(settings={"prompt": ["a"], "seed": []}),
    "an image that is not in the batch": record(image=1),
    "a negative image": record(image=-1),
    "an image that is true": record(image=True),
    "a negative prompt that is no list": record(settings={"prompt": ["a"], "seed": 1, "negative_prompt": "b"}),
    "two negative prompts for one": record(settings={"prompt": ["a"], "seed": 1, "negative_prompt": ["b", "c"]}),
    "a negative number of images": record(settings={"prompt": ["a"], "seed": 1, "num_images_per_prompt": -1}),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_one_clear_sentence(tmp_path, name):
    path = raw_png(tmp_path / "x.png", chunk(b"tEXt", b"promptattn\0" + BAD_JSON[name].encode("ascii")))
    with pytest.raises(ExportError, match=r"x\.png': what promptattn wrote into it cannot be read") as caught:
        read_image(path)
    assert len(str(caught.value)) < 500


def bomb(kind):
    squeezed = zlib.compress(b"a" * 200_000_000, 9)
    head = b"parameters\0\0" if kind == b"zTXt" else b"parameters\0\1\0\0\0"
    return chunk(kind, head + squeezed)


HUGE = chunk(b"IHDR", struct.pack(">II5B", 10**6, 10**6, 8, 2, 0, 0, 0))
MEGABYTE = zlib.compress(b"a" * 10**6)

BAD_FILES = {
    "a text file named .png": lambda path: path.write_text("a cat\nSteps: 2, Seed: 3, CFG scale: 4"),
    "an empty file": lambda path: path.touch(),
    "a folder": lambda path: path.mkdir(),
    "no file": lambda path: None,
    "a GIF": lambda path: Image.new("RGB", (8, 8)).save(path, format="GIF"),
    "no text": lambda path: png(path),
    "cut off in its text": lambda path: path.write_bytes(png(path, ("parameters", "a cat" * 100)).read_bytes()[:200]),
    "cut off in its head": lambda path: path.write_bytes(png(path).read_bytes()[:20]),
    "a bomb in zTXt": lambda path: raw_png(path, bomb(b"zTXt")),
    "a bomb in iTXt": lambda path: raw_png(path, bomb(b"iTXt")),
    "many bombs": lambda path: raw_png(path, *[chunk(b"zTXt", b"k%d\0\0" % i + MEGABYTE) for i in range(80)]),
    "two megabytes": lambda path: raw_png(path, chunk(b"tEXt", b"parameters\0" + b"a" * 2_000_000)),
    "two megabytes of JSON": lambda path: raw_png(path, chunk(b"tEXt", b"promptattn\0" + b"[" * 2_000_000)),
    "a wrong checksum": lambda path: raw_png(path, chunk(b"tEXt", b"parameters\0a cat")[:-4] + b"abcd"),
    "a chunk longer than the file": lambda path: raw_png(path, struct.pack(">I", 2**31 - 1) + b"tEXtparameters\0a"),
    "a million million pixels": lambda path: raw_png(path, HUGE),
    "a workflow": lambda path: png(path, ("workflow", "{}"), ("prompt", "{}")),
    "NovelAI": lambda path: png(path, ("Software", "NovelAI"), ("Comment", "{}")),
    "JSON as parameters": lambda path: png(path, ("parameters", '{"sui_image_params": {"prompt": "a"}}')),
    "a JPEG with EXIF that is cut off": lambda path: Image.new("RGB", (8, 8)).save(
        path, format="JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x69\x87"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_one_clear_sentence(tmp_path, name):
    path = tmp_path / "bad.png"
    BAD_FILES[name](path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ExportError, match=r"bad\.png") as caught:
            read_image(path)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_workflow_is_called_one(tmp_path):
    with pytest.raises(ExportError, match="picture of ComfyUI: it holds a workflow"):
        read_image(png(tmp_path / "x.png", ("workflow", "{}")))
    both = png(tmp_path / "y.png", ("workflow", "{}"), ("parameters", "a cat\nSteps: 2, Seed: 3, CFG scale: 4"))
    assert read_image(both).prompt == "a cat"


def test_every_cut_of_a_file_is_read_or_refused(image, tmp_path):
    for name in ("x.png", "x.jpg", "x.webp"):
        write_image(image, tmp_path / name, SETTINGS)
        data = (tmp_path / name).read_bytes()
        for end in range(0, len(data), 37):
            (tmp_path / name).write_bytes(data[:end])
            with suppress(ExportError):
                assert read_image(tmp_path / name).prompt


def test_reading_needs_no_model(tmp_path):
    png(tmp_path / "x.png", ("parameters", "a cat\nSteps: 2, Seed: 3, CFG scale: 4"))
    code = (
        "import sys, promptattn; print(promptattn.read_image(sys.argv[1]).prompt, "
        "{'diffusers', 'transformers', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x.png"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "a cat set()"


UNFIT = {
    "negative size": {"height": -64},
    "no steps": {"num_inference_steps": 0},
    "a seed out of range": {"seed": 2**63},
    "a negative seed": {"seed": -1},
    "guidance that is text": {"guidance_scale": "loud"},
    "a scheduler that is a list": {"scheduler": [1]},
    "a scheduler that fills the memory": {
        "scheduler": {"name": "DDIMScheduler", "options": {"num_train_timesteps": 10**10}}
    },
    "a scheduler that is no scheduler": {"scheduler": {"name": "StableDiffusionPipeline", "options": {}}},
    "a scheduler that is code": {"scheduler": {"name": "__import__('os')", "options": {}}},
    "an unknown place": {"where": "everywhere"},
    "a dtype that is a number": {"dtype": 32},
    "a model that is a number": {"model": 5},
    "a model that is on a server": {"model": "//server/share"},
    "a model that is on the hub": {"model": "somebody/something"},
    "a model that is a file": {"model": "/etc/passwd"},
}


@pytest.mark.parametrize("name", UNFIT)
def test_unfit_settings_are_told_with_the_image_and_leave_nothing(tmp_path, name):
    settings = {"prompt": ["a cat"], "seed": 7, "model": "shapes"} | UNFIT[name]
    path = png(tmp_path / "x.png", ("promptattn", record(settings=settings)))
    done = CliRunner().invoke(app, ["generate", "--from", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    told = " ".join(done.output.split())
    assert "x.png" in told or "scheduler" in told
    assert "Traceback" not in told
    assert [each.name for each in tmp_path.iterdir()] == ["x.png"]


def test_images_that_cannot_be_read_are_told_at_the_command_line(tmp_path):
    done = CliRunner().invoke(app, ["generate", "--from", str(tmp_path / "none.png")])
    assert (done.exit_code, isinstance(done.exception, SystemExit)) == (1, True)
    assert "there is no image" in " ".join(done.output.split())


def test_errors_are_ours(tmp_path):
    assert issubclass(ExportError, PromptAttnError)
    assert promptattn.read_image is read_image
