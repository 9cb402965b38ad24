"""What a launcher says in the environment."""

import pytest

from promptattn.batch.processes import launched_as, launched_in_vain

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_PORT", "ACCELERATE_MIXED_PRECISION")


@pytest.mark.parametrize(
    ("said", "rank_and_count", "in_vain"),
    [
        ({}, (0, 1), False),
        ({"RANK": "2", "WORLD_SIZE": "3"}, (2, 3), False),
        ({"RANK": "x", "WORLD_SIZE": "3"}, (0, 1), False),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, (0, 1), False),
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}, (0, 1), True),
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "1", "RANK": "0", "WORLD_SIZE": "3"}, (0, 3), False),
    ],
)
def test_rank_and_number_of_processes(monkeypatch, said, rank_and_count, in_vain):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert launched_as() == rank_and_count
    assert launched_in_vain() == in_vain
