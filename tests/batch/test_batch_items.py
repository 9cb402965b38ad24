"""Lines checked against the config of the whole."""

import pytest

from promptattn.batch.items import check_base, items_of, refuse_unreadable
from promptattn.batch.lines import Line
from promptattn.config import RunConfig, load_config
from promptattn.errors import ConfigError


def items(*settings, base=None):
    lines = [Line(number, {"prompt": "a cat", **each}) for number, each in enumerate(settings, start=1)]
    return items_of(lines, check_base(base or RunConfig()))


def test_a_line_has_what_the_whole_has_unless_it_says_otherwise():
    base = load_config(None, ["steps=9", "negative_prompt=ugly", "weighting.strength=3", "prompt=not used"])
    first, second = items({}, {"steps": 4, "negative_prompt": "", "weighting": {"method": "comfy"}}, base=base)
    assert (first.prompt, first.negative, first.config.steps, first.config.weighting.strength) == (
        "a cat",
        "ugly",
        9,
        3,
    )
    # A section given as a whole replaces the whole's.
    assert (second.negative, second.config.steps, second.config.weighting.method) == ("", 4, "comfy")
    assert second.config.weighting.strength is None


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"stepz": 3}, "stepz is no setting; did you mean steps?"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"steps": "many"}, "steps must be a whole number"),
        ({"prompt": 3}, "prompt must be text"),
        ({"prompt": ["a", "b"]}, "it has 2 prompts; give each a line of its own"),
        ({"seed": [1, 2]}, "it has 2 seeds"),
        ({"seed": -1}, "seed"),
        ({"weighting.method": "comfi"}, "weighting.method must be one of"),
        ({"weighting": {"method": "comfy", "where": "text"}}, "does not go together"),
        ({"syntax": "nonsense"}, "syntax must be one of"),
        ({"model": "sdxl"}, "model is of the whole batch"),
        ({"export": {"folder": "x"}}, "export.folder is of the whole batch"),
        ({"scheduler.name": "x"}, "scheduler is of the whole batch"),
        ({"capture": {"stream": {"folder": "r"}}}, "records are of one run, and a batch is many"),
        ({"name": "../x"}, "cannot be a folder's"),
        ({"name": ".x"}, "cannot be a folder's"),
        ({"name": "x."}, "cannot be a folder's"),
        ({"name": "manifest.jsonl"}, "cannot be a folder's"),
        ({"name": "Batch.JSON"}, "cannot be a folder's"),
        ({"name": "x" * 101}, "100 bytes at most"),
        ({"name": "CON"}, "none that Windows keeps for itself"),
        ({"name": "lpt1.v2"}, "none that Windows keeps for itself"),
        ({"name": "🐱"}, "cannot be a folder's"),
        ({"name": 7}, "cannot be a folder's"),
    ],
)
def test_a_line_that_cannot_be_made_says_why(settings, problem):
    (item,) = items(settings)
    assert item.problem is not None
    assert problem in item.problem, item.problem
    with pytest.raises(ConfigError, match=r"1 line of p.jsonl cannot be used, and nothing was made \(--strict\)"):
        refuse_unreadable([item], "p.jsonl")


def test_names_are_given_or_number_and_beginning_and_each_is_used_once():
    made = items({"name": "Ratón 1"}, {"prompt": "un (ratón:1.4), gris"}, {"prompt": "猫"}, {"name": "ratón 1"}, {})
    assert [item.name for item in made] == ["Ratón 1", "00002_un-raton-1-4-gris", "00003", "", "00005_a-cat"]
    assert made[3].problem == "name 'ratón 1' is that of line 1 too"
    assert items({"name": "00002_a-cat"}, {})[1].problem == "name '00002_a-cat' is that of line 1 too"


def test_a_name_is_the_same_however_its_accents_are_written():
    made = items({"name": "rato\u0301n"}, {"name": "RATÓN"}, {"name": "console"})
    assert [item.name for item in made] == ["ratón", "", "console"]
    assert "is that of line 1 too" in made[1].problem


def test_the_digest_is_of_what_is_asked_and_not_of_where():
    plain, same, other = (items({}, base=load_config(None, sets))[0] for sets in ([], ["device=cpu"], ["steps=3"]))
    assert plain.digest == same.digest
    assert plain.digest != other.digest
    assert items({"name": "x"})[0].digest == plain.digest
    assert items({"seed": 1})[0].digest != plain.digest


def test_the_whole_has_one_seed_and_one_negative_prompt():
    with pytest.raises(ConfigError, match="one seed for all lines, not 2"):
        check_base(load_config(None, ["seed=[1, 2]"]))
    with pytest.raises(ConfigError, match="one negative prompt"):
        check_base(RunConfig.model_validate({"prompt": ["a", "b"], "negative_prompt": ["a", "b"]}))
    with pytest.raises(ConfigError, match="records are of one run"):
        check_base(load_config(None, ["capture.stream.folder=r"]))
