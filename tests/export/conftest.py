import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "maps"))  # the made-up run is shared with the tests of the maps

from synthetic import demo, picture


@pytest.fixture
def maps():
    return demo()


@pytest.fixture
def image():
    return picture()


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A saved export of one image, with its maps."""
    maps = demo(size=(96, 160), steps=2, heads=2)
    folder = maps.save(tmp_path_factory.mktemp("export") / "out", image=picture((96, 160)))
    return maps, folder
