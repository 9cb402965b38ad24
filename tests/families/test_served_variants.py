"""Pipelines around the denoisers that are served: the stock image to the bit, weights that act, maps of all words."""

import inspect

import pytest
import torch
from families.family import NEGATIVE, PROMPT
from families.registry import FAMILIES
from families.variants import HEIGHT, LEVELS, VARIANTS, WIDTH

import promptattn

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.kind.__name__)
def test_variants_are_the_stock_pipeline_to_the_bit(variant):
    family, pipe = FAMILIES[variant.family], variant.make()
    takes = inspect.signature(variant.kind.__call__).parameters
    wanted = family.call | dict(num_inference_steps=LEVELS, strength=0.5, output_type="pt") | variant.given
    options = {name: value for name, value in wanted.items() if name in takes}
    length = family.call.get("max_sequence_length")

    def run(**texts):
        torch.manual_seed(0)  # some encode pictures with noise that no generator of theirs reaches
        output = pipe(**options | texts, generator=torch.Generator().manual_seed(0))
        return torch.as_tensor(output.images if "images" in output else output.rgb)

    negative = NEGATIVE if family.negative else None
    expected = run(prompt=PROMPT, **(dict(negative_prompt=negative) if negative else {}))
    with promptattn.attend(pipe, PROMPT, negative, max_sequence_length=length) as attended:
        assert torch.equal(run(**attended.inputs), expected)
    size = variant.given.get("height", HEIGHT), variant.given.get("width", WIDTH)
    assert attended.maps["cat"].array.shape == size
    weighted = PROMPT.replace("cat", "(cat:0)")
    with promptattn.attend(pipe, weighted, negative, max_sequence_length=length, where="denoiser") as attended:
        assert not torch.equal(run(**attended.inputs), expected)
    assert attended.maps["mouse"].array.any()
    assert not torch.tensor(attended.maps["cat"].array).any()
