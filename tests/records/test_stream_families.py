"""Further families: as many bytes are written as was told before, and the records' mean is the map."""

import numpy as np
import pytest
from families.registry import FAMILIES

import promptattn
from promptattn import Capture


@pytest.mark.parametrize("name", ["aura-flow", "chroma", "flux2-klein", "pixart-sigma", "qwen-image"])
def test_records_are_as_many_as_was_told_and_their_mean_is_the_map(name, tmp_path):
    family = FAMILIES[name]
    pipe = family.make()
    arguments = family.arguments()
    texts = [arguments.pop(each) for each in ("prompt", "negative_prompt") if each in arguments]
    capture = Capture(patches=[(0.5, 0.5)], per_head=True, stream=tmp_path / "records")
    with promptattn.attend(
        pipe, *texts, capture=capture, max_sequence_length=family.call.get("max_sequence_length")
    ) as run:
        told = run.records_size(arguments["num_inference_steps"], height=arguments["height"], width=arguments["width"])
        pipe(**arguments | run.inputs)
    records = run.records
    assert records.complete
    assert told.bytes == records.planned.bytes == records.bytes
    for mine, other in zip(records.maps().records, run.maps.records, strict=True):
        np.testing.assert_allclose(mine.mass, other.mass, rtol=0, atol=3e-7)
