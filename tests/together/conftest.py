import logging

import diffusers
import pytest


@pytest.fixture(autouse=True)
def quiet():
    """diffusers speaks of everything that a call leaves out."""
    level = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity(logging.ERROR)
    yield
    diffusers.utils.logging.set_verbosity(level)
