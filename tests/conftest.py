"""Nothing here may reach for the network, and small tensors are faster on one thread than on two that wait.

`HYPOTHESIS_PROFILE=explore` looks at many more examples than usual; `ci`, Hypothesis' own, at the same ones every time,
so that a red build says something about the change and not about luck.
"""

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

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
