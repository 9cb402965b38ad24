import contextlib
import errno
import os
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from promptattn.cli import app

HEAVY = {"torch", "diffusers", "transformers", "matplotlib", "gradio"}
FAST = ["--steps", "2", "--height", "16", "--width", "16"]


@pytest.fixture
def run(tiny_folder):
    def call(*arguments, model=tiny_folder):
        return CliRunner().invoke(app, [*arguments, "--model", model])

    return call


@pytest.mark.parametrize(
    "code",
    ["import promptattn", "import promptattn, sys; sys.argv = ['x', '--help']; import promptattn.cli as c; c.main()"],
)
def test_import_and_help_load_nothing_heavy(code):
    tail = (
        f"import atexit, sys; atexit.register(lambda: print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)); "
    )
    done = subprocess.run([sys.executable, "-c", tail + code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_generate_writes_image_maps_and_viewer(run, tmp_path):
    result = run("generate", "un gato (rojo:1.4)", "-n", "ugly", "--out", str(tmp_path / "o"), "--seed", "7", *FAST)
    assert result.exit_code == 0, result.output
    assert {"index.html", "image.png", "maps.json", "maps.npz", "maps.safetensors"} <= {
        path.name for path in (tmp_path / "o").iterdir()
    }
    assert "rojo" in result.output
    assert "1.4" in result.output


def test_words_of_weight_0_are_told_once(run, tmp_path):
    result = run("generate", "un (gato rojo:0) y un sol", "--out", str(tmp_path / "o"), *FAST)
    assert result.exit_code == 0, result.output
    assert result.output.count("zero everywhere") == 1, result.output
    assert "'gato', 'rojo'" in result.output


def test_tokens_prints_every_encoder(run):
    result = run("tokens", "un gato (rojo:1.4), \\[x\\]", "-n", "(dog:0.5)")
    assert result.exit_code == 0, result.output
    for expected in ("text_encoder", "rojo", "1.4", "negative prompt", "0.5", "["):
        assert expected in result.output


def test_an_existing_folder_is_kept_unless_forced(run, tmp_path):
    folder = tmp_path / "o"
    assert run("generate", "a cat", "--out", str(folder), *FAST).exit_code == 0
    before = (folder / "maps.json").read_bytes()
    refused = run("generate", "a dog", "--out", str(folder), *FAST)
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert (folder / "maps.json").read_bytes() == before
    assert run("generate", "a dog", "--out", str(folder), "--force", *FAST).exit_code == 0
    assert (folder / "maps.json").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "model", "code", "message"),
    [
        (["--steps", "0"], None, 2, "0 steps"),
        (["--height", "17"], None, 2, "multiple of 8"),
        (["--strength", "loud"], None, 2, "loud"),
        (["--where", "nowhere"], None, 2, "nowhere"),
        (["--method", "comfi"], None, 2, "--method must be one of attention"),
        (["--syntax", "a111"], None, 2, "did you mean a1111"),
        (["--steps", "many"], None, 2, "'many' is not a whole number"),
        ([], "no-such-model", 1, "no model"),
        ([], "nobody/no-such-model", 1, "not in the local cache"),
    ],
)
def test_failures_are_one_sentence_with_an_exit_code_and_leave_nothing(run, tmp_path, arguments, model, code, message):
    options = {} if model is None else {"model": model}
    result = run("generate", "a cat", "--out", str(tmp_path / "o"), *arguments, **options)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_exporting_leaves_nothing(run, tmp_path, monkeypatch):
    saved = Image.Image.save

    def save(self, target, *args, **kwargs):
        if "contact_sheet" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return saved(self, target, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", save)
    result = run("generate", "a cat", "--out", str(tmp_path / "o"), *FAST)
    assert result.exit_code == 1
    assert "disk is full" in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused_before_the_image_is_made(run, tmp_path):
    (tmp_path / "file").write_text("x")
    result = run("generate", "a cat", "--out", str(tmp_path / "file" / "o"), model="no-such-model")
    assert result.exit_code == 1
    assert "no model" not in result.output


def test_an_unsupported_pipeline_is_refused_by_name(run, tmp_path, monkeypatch):
    import promptattn.run.from_config

    class Other:
        vae_scale_factor = 8

    monkeypatch.setattr(promptattn.run.from_config, "load", lambda name, **options: Other())
    result = run("generate", "a cat", "--out", str(tmp_path / "o"))
    assert result.exit_code == 1
    assert "Other is not a text-to-image pipeline" in " ".join(result.output.split())


def test_in_a_terminal_progress_shows_from_the_first_import_on_and_leaves_only_the_result(tiny_folder, tmp_path):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "promptattn.cli", "generate", "a cat", "-m", tiny_folder, "-o", tmp_path / "o"]
    with subprocess.Popen([*command, *FAST], stdout=subprocess.PIPE, stderr=theirs, text=True) as running:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
            while read := os.read(ours, 65536):
                shown += read
        printed = running.stdout.read()
    os.close(ours)
    assert running.returncode == 0, shown
    # A stage that is shorter than the time between two drawings may not be seen; the first and the last are.
    assert 0 <= shown.find(b"Starting") < shown.find(b"2/2 steps"), shown
    assert b"Writing" in shown
    assert b"Error" not in shown  # of the thread that draws, which ends nothing
    assert "\x1b" not in printed
    assert "Open" in printed


def test_a_clean_run_has_no_noise_of_the_libraries(tiny_folder, tmp_path):
    command = [
        sys.executable,
        "-m",
        "promptattn.cli",
        "generate",
        "a cat",
        "-m",
        tiny_folder,
        "-o",
        str(tmp_path / "o"),
    ]
    done = subprocess.run([*command, *FAST], capture_output=True, text=True, check=True)
    assert "torchvision" not in done.stderr + done.stdout
    assert "Warning" not in done.stderr
