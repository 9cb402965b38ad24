"""Processors whose code imports while it runs, from the package where it stands."""

import pytest
import torch
from families.registry import FAMILIES

from promptattn.processors.install import Installation, attention_layers


@pytest.mark.parametrize("name", ["lumina", "cogview4"])
def test_derived_processors_import_from_where_their_code_stands(name):
    family = FAMILIES[name]
    pipe = family.make()
    expected = pipe(**family.arguments()).images
    installation = Installation(pipe.transformer, list(attention_layers(pipe.transformer)))
    try:
        image = pipe(**family.arguments()).images
    finally:
        installation.remove()
    assert torch.equal(image, expected)
