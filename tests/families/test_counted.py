"""Every attention call of a served pipeline is recorded, or left out for a reason that stands here."""

import json
import logging
import re

import diffusers
import pytest
import torch
import transformers
from families.counting import counted
from families.facts import TABLE
from families.family import NEGATIVE, PROMPT
from families.registry import FAMILIES
from families.test_served import SERVED

import promptattn
from promptattn.maps.capture import RELATIONS, Capture
from promptattn.processors.layouts import LAYOUTS

FACTS = json.loads(TABLE.read_text())

OTHER_COMPONENTS = {
    "vae": "pixels, or latents, among themselves; no prompt is there",
    "text_encoder": "words among words, before the image: text->text, where the denoiser has no such relation",
    "text_encoder_2": "likewise",
    "text_encoder_3": "likewise",
    "text_encoder_4": "likewise",
}
"""Why what other components attend to is in no map of the denoiser."""

NEGATIVE_ALONE = "a call that reads the negative prompt alone: maps are the prompt's"

TEXT_ALONE = "words among words, before any layer sees the image"

OTHER_LAYERS: dict[str, dict[str, str]] = {
    "Krea2Transformer2DModel": {r"text_fusion\..*\.attn": TEXT_ALONE},
    "Lumina2Transformer2DModel": {r"context_refiner\.\d+\.attn": TEXT_ALONE},
    "ZImageTransformer2DModel": {r"context_refiner\.\d+\.attention": TEXT_ALONE},
}
"""By class of denoiser: the layers, as a pattern, that attend and are not recorded, and why."""

TEXT_FIRST = {"QwenImage21Transformer2DModel": 1}
"""By class of denoiser: how many calls of each layer are of the text by itself, and in no map."""


@pytest.fixture(autouse=True, scope="module")
def quiet():
    levels = diffusers.utils.logging.get_verbosity(), transformers.logging.get_verbosity()
    diffusers.utils.logging.set_verbosity(logging.ERROR)
    transformers.logging.set_verbosity(logging.ERROR)
    yield
    diffusers.utils.logging.set_verbosity(levels[0])
    transformers.logging.set_verbosity(levels[1])


@pytest.mark.parametrize("name", SERVED)
def test_attention_calls_are_recorded_or_left_out_by_name(name):
    family, pipe = FAMILIES[name], FAMILIES[name].make()
    ((part, facts),) = FACTS[name]["denoisers"].items()
    with counted(pipe) as stock, torch.no_grad():
        pipe(**family.arguments())
    assert stock.functions
    # Text encoders that cap their scores work attention out in steps.
    assert {place: count for place, count in stock.kernels.items() if place[0] == part} == {
        place: count for place, count in stock.functions.items() if place[0] == part
    }
    unnamed = {component for component, _ in stock.kernels | stock.functions} - {part, *OTHER_COMPONENTS}
    assert not unnamed, f"{unnamed} attend; record them, or say in OTHER_COMPONENTS why not"

    joint = LAYOUTS[facts["class"]].attention == "joint"
    everything = Capture(relations=RELATIONS if joint else ["image->text"], patches=[(0.3, 0.7)])
    texts = (PROMPT, NEGATIVE) if family.negative else (PROMPT,)
    length = family.call.get("max_sequence_length")
    with promptattn.attend(pipe, *texts, capture=everything, max_sequence_length=length) as run:
        given = {key: value for key, value in family.arguments().items() if "prompt" not in key}
        with counted(pipe) as attended, torch.no_grad():
            pipe(**given | run.inputs)

    calls = facts["rows_of_first_step"]
    of_the_prompt = sum(any(row in ("prompt", "both") for row in rows) for rows in calls)
    patterns = OTHER_LAYERS.get(facts["class"], {})
    for (component, layer), count in stock.functions.items():
        if component != part or any(re.fullmatch(pattern, layer) for pattern in patterns):
            continue
        recorded = attended.recorded[component, layer]
        negative_alone = count * (len(calls) - of_the_prompt) // len(calls)
        assert recorded + negative_alone + TEXT_FIRST.get(facts["class"], 0) == count, (
            f"{layer} attends {count} times, of which {negative_alone} are left out ({NEGATIVE_ALONE}), and {recorded}"
            " were recorded; record the others, or say in OTHER_LAYERS why not"
        )
    # What was recorded did attend, and nothing attended twice or not at all on the way.
    assert set(attended.recorded) <= set(stock.functions)
    assert {place for place in attended.kernels if place[0] == part} == {
        place for place in stock.kernels if place[0] == part
    }
    assert {record.name for record in run.maps.records} | {record.name for record in run.maps.patches} == {
        layer for _, layer in attended.recorded
    }
    for pattern in patterns:
        assert any(re.fullmatch(pattern, layer) for _, layer in stock.functions), pattern
