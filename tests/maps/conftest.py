import pytest
from synthetic import demo


@pytest.fixture
def maps():
    """One image of 64 x 64 with three layers and known objects."""
    return demo()


@pytest.fixture
def wide():
    """One image, wider than high, so that a swapped axis cannot pass."""
    return demo(size=(96, 160))
