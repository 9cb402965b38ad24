"""Nothing here may reach for the network, and small tensors are faster on one thread than on two that wait.

`HYPOTHESIS_PROFILE=explore` looks at many more examples than usual; `ci`, Hypothesis' own, at the same ones every time,
so that a red build says something about the change and not about luck.
"""

import logging
import os
import shutil

import pytest
import torch
from hypothesis import HealthCheck, settings

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

settings.register_profile("explore", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def quiet():
    """Random models warn about sizes, dtypes and absent packages."""
    import diffusers
    import transformers

    logs = diffusers.utils.logging, transformers.logging
    levels = [each.get_verbosity() for each in logs]
    for each in logs:
        each.set_verbosity(logging.ERROR)
    yield
    for each, level in zip(logs, levels, strict=True):
        each.set_verbosity(level)


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium, one for all tests: a second driver would meet the first one's event loop.

    Tests that need it are skipped where there is none.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as driver:
        found = next(filter(None, map(shutil.which, _BROWSERS)), None)
        try:
            # Chromium refuses its own sandbox to root, who runs tests in containers; the pages are our own.
            browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except Exception as error:
            pytest.skip(f"no Chromium (`playwright install chromium` gets one): {str(error).splitlines()[0]}")
        yield browser
