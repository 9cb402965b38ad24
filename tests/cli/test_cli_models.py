"""`promptattn models` lists what the tables serve, and what they refuse, and why."""

import json

import promptattn
from promptattn.processors.layouts import ADDING_KEYS, LAYOUTS, PROJECTING
from promptattn.processors.refused import REFUSED, REFUSED_PIPELINES


def test_the_list_is_made_from_the_tables():
    served = [model for model in promptattn.models() if model.refused is None]
    refused = [model for model in promptattn.models() if model.refused is not None]
    assert {model.denoiser for model in served} == set(LAYOUTS)
    layouts = (*LAYOUTS.values(), *ADDING_KEYS.values(), *PROJECTING.values())
    assert [model.family for model in served] == [name for layout in layouts for name in layout.families]
    assert {model.denoiser for model in refused} >= set(REFUSED)
    assert {model.family for model in refused if not model.denoiser} == set(REFUSED_PIPELINES)
    assert not set(LAYOUTS) & set(REFUSED)
    assert all(model.weighting and model.capture and model.text_encoder and model.tested for model in served)
    joint = next(model for model in served if model.family == "AuraFlow")
    assert joint.capture == ("image->text", "text->text", "text->image", "image->image")


def test_the_command_prints_them_as_tables_and_as_json(command):
    result = command("models")
    assert result.exit_code == 0
    assert "PixArt-sigma" in result.output
    assert "OmniGen" in result.output
    assert "Other denoisers are tried" in result.output
    assert "…" not in result.output, "a name is cut off"
    assert result.output.count("dense float64") == 1
    rows = json.loads(command("models", "--json").output)
    assert [row["family"] for row in rows] == [model.family for model in promptattn.models()]
    assert next(row for row in rows if row["family"] == "Chroma")["refused"] is None
