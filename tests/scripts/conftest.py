import importlib.util
from pathlib import Path

import pytest
from typer.testing import CliRunner

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="session", autouse=True)
def logging_to_the_session():
    """diffusers logs to the stderr of its first import, which must not be that of one test: it is closed afterwards."""
    import diffusers.utils.logging

    diffusers.utils.logging.get_logger()


@pytest.fixture(scope="session")
def script():
    """Run a script's command in this process: `script("generate", "--config", ...)`."""

    def call(name, *arguments):
        spec = importlib.util.spec_from_file_location(f"{name}_script", SCRIPTS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return CliRunner().invoke(module.app, [str(argument) for argument in arguments])

    return call


@pytest.fixture(scope="session")
def saved(script, tmp_path_factory):
    """Two steps of the shapes preset, with its steps kept apart."""
    folder = tmp_path_factory.mktemp("scripts") / "run"
    done = script(
        "generate", "a red cat and a blue cat", "--config", "shapes", "--set", "steps=2", "--set", "images=2",
        "--set", "capture.per_step=true", "--out", folder,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return folder
