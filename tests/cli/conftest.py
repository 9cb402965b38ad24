import pytest
import tiny_pipelines as tiny
from typer.testing import CliRunner

from promptattn.cli import app


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A tiny Stable Diffusion pipeline on disk, as a user would have one."""
    folder = tmp_path_factory.mktemp("models") / "tiny-sd"
    tiny.sd().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def command():
    """Run a command in this process: `command("convert", "a cat", "--from", "comfy")`."""

    def call(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call
