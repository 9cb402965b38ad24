import pytest
from batch_written import tree

import promptattn
from promptattn.batch import run_batch
from promptattn.config import load_config

SMALL = ("steps=2", "size.height=32", "size.width=32")


@pytest.fixture(scope="session")
def loaded():
    """The model in the package, loaded once."""
    return promptattn.load("shapes")


@pytest.fixture
def make(loaded, monkeypatch, tmp_path):
    """Run a batch of the given lines: `make(["a cat"], "steps=3")`; the model is not loaded anew each time."""
    monkeypatch.setattr("promptattn.batch.running.load_pipeline", lambda config: loaded)

    def run(lines, *sets, name="prompts.txt", maps=False, folder="out", **options):
        file = tmp_path / name
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        capture = [] if maps else ["capture=false"]
        return run_batch(file, tmp_path / folder, load_config(None, [*SMALL, *capture, *sets]), **options)

    return run


@pytest.fixture
def contents():
    return tree
