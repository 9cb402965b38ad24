"""Every attention call of a served pipeline is recorded, or left out for a reason that stands here."""

import json
import re

import pytest
import torch
from families.counting import counted
from families.facts import TABLE
from families.family import NEGATIVE, PROMPT
from families.registry import FAMILIES
from families.test_served import LINEAR, SERVED

import promptattn
from promptattn.maps.capture import RELATIONS, Capture
from promptattn.processors.layouts import LAYOUTS

FACTS = json.loads(TABLE.read_text())

OTHER_COMPONENTS = {
    "vae": "pixels, or latents, among themselves; no prompt is there",
    "movq": "likewise",
    "text_encoder": "words among words, before the image: text->text, where the denoiser has no such relation",
    "text_encoder_2": "likewise",
    "text_encoder_3": "likewise",
    "text_encoder_4": "likewise",
}
"""Why what other components attend to is in no map of the denoiser."""

NEGATIVE_ALONE = "a call that reads the negative prompt alone: maps are the prompt's"

POOLED = "the text is pooled there: one query, and the words for keys"
TEXT_ALONE = "words among words, before any layer sees the image"

OTHER_LAYERS: dict[str, dict[str, str]] = {
    "HunyuanImageTransformer2DModel": {r"context_embedder\..*\.attn": TEXT_ALONE},
    "HiDreamImageTransformer2DModel": {r".*\.ff_i\.gate": "a softmax over experts, and no attention"},
    "Krea2Transformer2DModel": {r"text_fusion\..*\.attn": TEXT_ALONE},
    "Lumina2Transformer2DModel": {r"context_refiner\.\d+\.attn": TEXT_ALONE},
    "ZImageTransformer2DModel": {r"context_refiner\.\d+\.attention": TEXT_ALONE},
    "Kandinsky3UNet": {r"add_time_condition\.attention": POOLED},
    "Kandinsky5Transformer3DModel": {r"text_transformer_blocks\.\d+\.self_attention": TEXT_ALONE},
    "HunyuanDiT2DModel": {r"time_extra_emb\.pooler": POOLED},
    "deepfloyd-if": {r"add_embedding\.pool": POOLED},
}
"""By class of denoiser, or by family: the layers, as a pattern, that attend and are not recorded, and why."""

TEXT_FIRST = {"QwenImage21Transformer2DModel": 1}
"""By class of denoiser: how many calls of each layer are of the text by itself, and in no map."""


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.mark.parametrize("name", SERVED)
def test_attention_calls_are_recorded_or_left_out_by_name(name):
    family, pipe = FAMILIES[name], FAMILIES[name].make()
    ((part, facts),) = FACTS[name]["denoisers"].items()
    with counted(pipe) as stock, torch.no_grad():
        pipe(**family.arguments())
    assert stock.functions
    # Some text encoders work their attention out in steps, of which only the softmax is seen.
    patterns = OTHER_LAYERS.get(facts["class"], {}) | OTHER_LAYERS.get(name, {})
    assert _named_not(stock.kernels, patterns) == _named_not(stock.functions, patterns)
    unnamed = {component for component, _ in (stock.functions | stock.kernels)} - {part, *OTHER_COMPONENTS}
    assert not unnamed, f"{unnamed} attend; record them, or say in OTHER_COMPONENTS why not"

    joint = LAYOUTS[facts["class"]].attention == "joint"
    patches = [] if name in LINEAR else [(0.3, 0.7)]
    everything = Capture(relations=RELATIONS if joint else ["image->text"], patches=patches)
    texts = (PROMPT, NEGATIVE) if family.negative else (PROMPT,)
    length = family.call.get("max_sequence_length")
    with promptattn.attend(pipe, *texts, capture=everything, max_sequence_length=length) as run:
        given = {key: value for key, value in family.arguments().items() if "prompt" not in key}
        with counted(pipe) as attended, torch.no_grad():
            pipe(**given | run.inputs)

    calls = facts["rows_of_first_step"]
    of_the_prompt = sum(any(row in ("prompt", "both") for row in rows) for rows in calls)
    for (component, layer), count in stock.functions.items():
        if component != part or _matches(layer, patterns):
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
        assert any(re.fullmatch(pattern, layer) for _, layer in stock.kernels), pattern


def _matches(layer, patterns):
    return any(re.fullmatch(pattern, layer) for pattern in patterns)


def _named_not(calls, patterns):
    """Those of neither text encoders nor layers of these names."""
    return {
        place: count
        for place, count in calls.items()
        if not place[0].startswith("text_encoder") and not _matches(place[1], patterns)
    }
