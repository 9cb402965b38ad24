"""Configs are read as they are meant, and what is wrong with them is said in their own terms, all of it at once."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from promptattn import Capture, ConfigError, attend
from promptattn.config import CaptureConfig, RunConfig, WeightingConfig, load_config, preset, preset_names
from promptattn.export import FORMATS
from promptattn.maps import COLORMAPS, RULES
from promptattn.maps.capture import RELATIONS
from promptattn.maps.stream import RECORD_DTYPES
from promptattn.prompt.parsing import SYNTAXES
from promptattn.weighting import (
    EMBEDDING_METHODS,
    METHODS,
    NORMALISATIONS,
    PLACES,
    EmbeddingWeighting,
    Weighting,
    chosen,
)
from promptattn.weighting.embedding import POOLED_METHODS

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def written(tmp_path):
    def write(text):
        file = tmp_path / "my.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


# The files of configs/.


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_preset_is_complete_and_explained(file):
    config = load_config(file)
    assert config == load_config(file.stem) == preset(file.stem)
    assert file.read_text(encoding="utf-8").startswith("# ")
    assert config.steps is not None
    assert config.guidance is not None
    assert config.dtype is not None
    assert config.prompt is not None
    assert config.scheduler is None
    shipped = file.stem.startswith("shapes")
    assert config.model.name == file.stem if shipped else config.model.name.count("/") == 1
    assert shipped or config.size.height is not None


def test_the_promised_presets_are_there():
    assert {"shapes", "shapes-dit", "sd15", "sdxl", "sd3", "flux"} <= set(preset_names())
    assert preset("nonsense") is None


def paths(data, prefix=""):
    for key, value in data.items():
        yield prefix + key
        if isinstance(value, dict) and key != "options" and "start" not in value:
            yield from paths(value, f"{prefix}{key}.")


def fields(section, prefix=""):
    from promptattn.config.problems import section_of

    for name, field in section.model_fields.items():
        yield prefix + name
        if inner := section_of(field):
            yield from fields(inner, f"{prefix}{name}.")


def test_the_first_preset_shows_every_setting_there_is(written):
    text = (CONFIGS / "shapes.yaml").read_text(encoding="utf-8")
    whole = re.sub(r"(?m)^# ?(?=( *)[a-z_]+:)", "", text)
    assert set(fields(RunConfig)) - set(paths(yaml.safe_load(whole))) == {
        "model.name",
        "model.revision",
        "model.variant",
    }
    load_config(written(whole.replace("per_step: false", "per_step: true")))


def test_what_is_a_comment_there_is_the_default(written):
    text = (CONFIGS / "shapes.yaml").read_text(encoding="utf-8")
    for key in ("device", "images", "syntax", "export.folder", "export.alpha", "export.colormap", "export.formats"):
        field = RunConfig()
        for part in key.split("."):
            field = getattr(field, part)
        shown = re.search(rf"(?m)^# +{key.rpartition('.')[2]}: ([^#\n]+)|^# {key.rpartition('.')[2]}: ([^#\n]+)", text)
        assert yaml.safe_load(shown[1] or shown[2]) == field, key


def test_sections_have_what_the_api_has():
    assert set(CaptureConfig.model_fields) == {field.name for field in dataclasses.fields(Capture)}
    options = {"method" if name == "weighting" else name for name in inspect.signature(attend).parameters}
    embedding = {field.name for field in dataclasses.fields(EmbeddingWeighting)}
    assert options | embedding >= set(WeightingConfig.model_fields) >= embedding
    assert CaptureConfig().capture() == Capture()


# Methods.


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_chosen(name):
    assert WeightingConfig(method=name).chosen() == chosen(name)


def test_a_method_takes_its_options(written):
    config = load_config(written("weighting: {method: a1111, normalisation: length+mean, restore_mean: false}"))
    assert config.weighting.chosen() == EmbeddingWeighting("a1111", "length+mean", restore_mean=False)
    config = load_config(written("weighting: {method: down_weight, pooled: true}"))
    assert config.weighting.chosen() == EmbeddingWeighting("down_weight", pooled=True)
    config = load_config(written("weighting: {where: text, strength: 2}"))
    assert config.weighting.chosen() == Weighting("text", 2.0)
    config = load_config(written("weighting: {method: negpip, steps: {start: 0.0, stop: 0.4}}"))
    assert config.weighting.chosen() == Weighting(rule="negpip")


# What is meant.


def test_short_forms(written):
    config = load_config(
        written(
            "model: sdxl\nscheduler: DDIMScheduler\nseed: 3\nprompt: a cat\nweighting: {layers: mid_block, steps: 4}\n"
            "capture: {words: cat, relations: text->text, heads: 0}"
        )
    )
    assert config.model.name == "sdxl"
    assert config.scheduler.name == "DDIMScheduler"
    assert (config.seed, config.prompt) == ([3], ["a cat"])
    assert (config.weighting.layers, config.weighting.steps) == (["mid_block"], [4])
    assert config.capture.capture() == Capture(words=["cat"], relations=["text->text"], heads=[0])


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("[0, 5]", [0, 5]),
        ("{start: 0, stop: 5}", (0, 5)),
        ("{start: 0, stop: 0.4}", (0.0, 0.4)),
        ("{start: 0.5, stop: 1}", (0.5, 1.0)),
        ("7", [7]),
    ],
)
def test_steps_tell_lists_from_ranges(written, text, steps):
    config = load_config(written(f"capture: {{steps: {text}}}"))
    assert config.capture.steps == steps
    assert type(config.capture.steps) is type(steps)
    assert [type(step) for step in config.capture.steps] == [type(step) for step in steps]


@pytest.mark.parametrize(
    ("text", "on"),
    [("capture:", True), ("capture: true", True), ("capture: {}", True), ("capture: false", False), ("steps: 3", True)],
)
def test_capture_is_off_only_where_that_is_said(written, text, on):
    assert (load_config(written(text)).capture is not None) == on


def test_numbers_without_a_point_are_numbers(written):
    config = load_config(written("guidance: 1e1\nweighting: {strength: 2e0}\nexport: {alpha: 1}"))
    assert (config.guidance, config.weighting.strength, config.export.alpha) == (10.0, 2.0, 1.0)


# --set and options.


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("weighting.strength=4", "weighting.strength", 4.0),
        ("weighting.strength=exact", "weighting.strength", "exact"),
        ("weighting.steps={start: 0.0, stop: 0.4}", "weighting.steps", (0.0, 0.4)),
        ("capture.words=[cat, [a, 1]]", "capture.words", ["cat", ("a", 1)]),
        ("prompt=[small] cat: 3", "prompt", ["[small] cat: 3"]),
        ("prompt=[small]", "prompt", ["[small]"]),
        ("prompt=no", "prompt", ["no"]),
        ("prompt=a=b", "prompt", ["a=b"]),
        ("export.folder=2026", "export.folder", "2026"),
        ("model=sdxl", "model.name", "sdxl"),
        ("model={name: sdxl, variant: fp16}", "model.variant", "fp16"),
        ("model.revision=0123", "model.revision", "0123"),
        ("scheduler.options.use_karras_sigmas=true", "scheduler.options", {"use_karras_sigmas": True}),
        ("seed=[1, 2]", "seed", [1, 2]),
        ("capture=false", "capture", None),
        ("steps=", "steps", None),
        ("size.height=72", "size.height", 72),
    ],
)
def test_set_is_typed_by_the_setting(written, text, path, value):
    found = load_config(written("model: shapes\nsteps: 9\nscheduler: DDIMScheduler"), [text])
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


def test_options_stand_over_set_and_set_over_the_file(written):
    file = written("steps: 9\nguidance: 2\nseed: 1\ncapture: false")
    config = load_config(
        file, ["steps=10", "guidance=3", "capture.words=cat"], [("--steps", "steps", 11), ("--seed", "seed", None)]
    )
    assert (config.steps, config.guidance, config.seed, config.capture.words) == (11, 3.0, [1], ["cat"])


def test_another_model_drops_the_revision_of_the_first(written):
    config = load_config(written("model: {name: a/b, revision: x}"), [], [("--model", "model", "c/d")])
    assert (config.model.name, config.model.revision) == ("c/d", None)


# What is wrong.

WRONG = {
    # unknown keys, at every level
    "step: 3": "line 1: step is no setting; did you mean steps?",
    "weighting:\n  strenght: 4": "line 2: weighting.strenght is no setting; did you mean weighting.strength?",
    "export: {colour: gray}": "line 1: export.colour is no setting; did you mean export.colormap?",
    "capture:\n  wrods: [cat]": "line 2: capture.wrods is no setting; did you mean capture.words?",
    "size: {hight: 3}": "size.hight is no setting; did you mean size.height?",
    "model: {nmae: shapes}": "model.nmae is no setting; did you mean model.name?",
    "scheduler: {name: x, option: {}}": "scheduler.option is no setting; did you mean scheduler.options?",
    "height: 64": "height is no setting; did you mean size.height?",
    "strength: 4": "strength is no setting; did you mean weighting.strength?",
    "num_inference_steps: 4": "num_inference_steps is no setting; did you mean steps?",
    "guidance_scale: 4": "guidance_scale is no setting; did you mean guidance?",
    "zzz: 4": "zzz is no setting; there are model, dtype,",
    "steps: 3\n7: 4": "the config has the key 7, which is no text.",
    # wrong types and values
    "steps: many": "line 1: steps must be a whole number, not 'many'.",
    "steps: 2.5": "steps must be a whole number, not 2.5.",
    "steps: yes": "steps must be a whole number, not true.",
    "steps: 0": "steps must be at least 1: 0 steps make no image.",
    "guidance: high": "guidance must be a number, not 'high'.",
    "guidance: .inf": "guidance must be a finite number, not inf.",
    "prompt: no": "prompt must be text, not false; put it in quotes.",
    "prompt: [a cat, 3]": "prompt[1] must be text, not 3; put it in quotes.",
    "prompt: {a: cat}": "prompt must be text, not {'a': 'cat'}.",
    "prompt: []": "prompt is an empty list; give at least one",
    "prompt: [a, b]\nnegative_prompt: [a, b, c]": "the config has 2 prompts but 3 negative prompts",
    "seed: [1, x]": "seed[1] must be a whole number, not 'x'.",
    "seed: -1": "seed must be at least 0, not -1.",
    "seed: 9223372036854775808": "seed must be below 9223372036854775808, not 9223372036854775808.",
    "seed: [4, 4]": "seed names 4 twice",
    "images: 0": "images must be at least 1, not 0.",
    "size: 64": "size must be a section with the keys height, width, not 64.",
    "size: {height: -8}": "size.height must be at least 1, not -8.",
    "weighting: 4": "weighting must be a section with the keys method, where, strength, normalisation, "
    "restore_mean, pooled, layers, steps, rows, not 4.",
    "model: [a]": "model must be a section with the keys name, revision, variant, not ['a'].",
    "model: {name: ''}": "model.name must not be empty.",
    "scheduler: {options: {}}": "scheduler lacks its name.",
    "dtype: fp16": "dtype must be one of auto, float32, bfloat16, float16, not 'fp16'; did you mean float16?",
    "device: gpu": "device must be one of auto, cpu, cuda, mps, or cuda:1 and so on, not 'gpu'; did you mean cuda?",
    "syntax: a1112": f"syntax must be one of {', '.join(sorted(SYNTAXES))}, not 'a1112'; did you mean a1111?",
    "clip_skip: -1": "clip_skip must be at least 0, not -1.",
    "weighting: {where: texts}": f"weighting.where must be one of {', '.join(PLACES)}, not 'texts'; did you mean text?",
    "weighting: {strength: loud}": "weighting.strength must be \"exact\" or a positive number, not 'loud'.",
    "weighting: {strength: 0}": 'weighting.strength must be "exact" or a positive number, not 0.',
    "weighting: {method: embedding}": f"weighting.method must be one of {', '.join(METHODS)}, not 'embedding'.",
    "weighting: {method: p2p}": "not 'p2p'; did you mean prompt-to-prompt?",
    "weighting: {method: comfi}": "not 'comfi'; did you mean comfy?",
    "weighting: {method: A1111}": "not 'A1111'; did you mean a1111?",
    "weighting: {normalisation: len}": "weighting.normalisation must be one of none, mean, length, length+mean",
    "weighting: {method: a1111, where: denoiser}": "weighting does not go together: where='denoiser': 'a1111' acts on",
    "weighting: {method: comfy, strength: 4}": "weighting does not go together: strength=4.0: 'comfy' acts on",
    "weighting: {method: comfy, steps: 4}": "weighting does not go together: steps=[4]: 'comfy' changes the text",
    "weighting: {method: comfy, rows: all}": "weighting does not go together: rows='all': 'comfy' changes the text",
    "weighting: {method: compel, layers: mid_block}": "weighting does not go together: layers=['mid_block']: 'compel'",
    "weighting: {method: comfy, restore_mean: false}": "restore_mean=False: 'comfy' restores no mean",
    "weighting: {method: a1111, pooled: true}": "pooled=True: 'a1111' leaves the pooled embedding as it is",
    "weighting: {method: negpip, where: text}": "where='text': negpip acts in the denoiser only",
    "weighting: {method: prompt-to-prompt, strength: 3}": "strength=3.0: prompt-to-prompt takes every weight as it",
    "weighting: {pooled: true}": "weighting does not go together: pooled=True is an option of a1111, comfy, compel",
    "weighting: {restore_mean: false}": "restore_mean=False is an option of a1111, comfy, compel, comfy++, down_weight",
    "weighting: {steps: [0.0, 0.4]}": "weighting.steps must be a list of step numbers such as [0, 5, 10], or a range",
    "weighting: {steps: {start: 3}}": "weighting.steps takes start and stop and nothing else",
    "weighting: {steps: {start: a, stop: b}}": "weighting.steps must have numbers as start and stop",
    "weighting: {steps: {start: 5, stop: 5}}": "weighting.steps selects no step",
    "weighting: {steps: []}": "weighting.steps selects no step",
    "capture: 3": "capture must be a section with the keys words, patches,",
    "capture: {words: [a, 1]}": "capture.words[1] must be a text in quotes, or a text and its occurrence",
    "capture: {words: []}": "capture words selects no word",
    "capture: {heads: []}": "capture heads selects no head",
    "capture: {patches: [0.5]}": "capture.patches[0] must be a list of places [row, column]",
    "capture: {patches: [[1.5, 0.5]]}": "is not a place",
    "capture: {relations: image>text}": f"must be one of {', '.join(RELATIONS)}, not 'image>text'; did you mean",
    "capture: {relations: image->image}": "capture relations: image->image needs patches",
    "capture: {per_step: 1}": "capture.per_step must be true or false, not 1.",
    "export: {formats: [png]}": f"export.formats[0] must be one of {', '.join(FORMATS)}, not 'png'.",
    "export: {alpha: 2}": "export.alpha must be at most 1, not 2.",
    "export: {colormap: jet}": f"export.colormap must be one of {', '.join(COLORMAPS)}, not 'jet'.",
    "export: {steps: 3}": "asks export.steps of maps whose steps are not kept apart; add capture.per_step: true",
    # not YAML, or not a config
    "a: [1": "line 1, column 6: this is not YAML: expected ',' or ']'",
    "a:\t- 1": "line 1, column 3: this is not YAML: found character '\\t'",
    "prompt: !!python/object/apply:os.getcwd []": "this is not YAML: could not determine a constructor",
    "a: 1\n---\na: 2": "this is not YAML: but found another document",
    "steps: 3\nseed: 1\nsteps: 4": "line 3: steps is given a second time.",
    "weighting: {where: text, where: both}": "line 1: weighting.where is given a second time.",
    "prompt: &x [*x]": "line 1: this value holds itself.",
    "prompt: " + "[" * 1500 + "]" * 1500: "cannot be read as YAML",
    "": "is empty; a config has at least one setting",
    "# nothing\n": "is empty",
    "- model: shapes": "must be made of settings such as 'steps: 30'",
    "shapes": "must be made of settings such as 'steps: 30'; it holds shapes.",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30])
def test_what_is_wrong_is_said(written, text):
    file = written(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    message = str(caught.value)
    assert WRONG[text] in message
    assert message.startswith(str(file))
    assert "pydantic" not in message
    assert "\n" not in message


def test_all_problems_are_listed_in_order_with_their_places(written):
    file = written("weighting:\n  strenght: 4\nsteps: many\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, ["guidence=3", "seed=x"], [("--height", "size.height", 0)])
    assert str(caught.value).splitlines() == [
        "5 settings cannot be used:",
        f"  {file}, line 2: weighting.strenght is no setting; did you mean weighting.strength?",
        f"  {file}, line 3: steps must be a whole number, not 'many'.",
        "  --set guidence is no setting; did you mean guidance?",
        "  --set seed must be a whole number, not 'x'.",
        "  --height must be at least 1, not 0.",
    ]


@pytest.mark.parametrize("text", ["promt", "=3", "a..b=3", ".steps=3"])
def test_a_set_without_its_form_is_said(text):
    with pytest.raises(ConfigError, match="has not the form key=value"):
        load_config(None, [text])


def test_a_set_that_is_no_yaml_is_said():
    with pytest.raises(ConfigError, match=r"--set capture.words: '\[cat' is not YAML"):
        load_config(None, ["capture.words=[cat"])


def test_a_set_in_a_section_that_there_is_not_is_named():
    with pytest.raises(ConfigError, match=r"^--set weigthing.strength is no setting; did you mean weighting\?$"):
        load_config(None, ["weigthing.strength=3"])


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no config file .*none\.yaml"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"there is no config file shape; did you mean the preset shapes\?$"):
        load_config("shape")
    with pytest.raises(ConfigError, match="Is a directory"):
        load_config(tmp_path)
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff\xff")
    with pytest.raises(ConfigError, match="not a text file in UTF-8"):
        load_config(tmp_path / "picture.yaml")


def test_a_byte_order_mark_is_no_setting(tmp_path):
    (tmp_path / "windows.yaml").write_bytes(b"\xef\xbb\xbfsteps: 3\r\n")
    assert load_config(tmp_path / "windows.yaml").steps == 3


# There and back again.

text = st.text(st.characters(), max_size=20)
name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
number = st.floats(allow_nan=False, allow_infinity=False)
share = st.floats(0, 0.49), st.floats(0.5, 1)
steps = st.one_of(
    st.lists(st.integers(0, 99), min_size=1, max_size=4),
    st.builds(lambda start, stop: {"start": start, "stop": start + stop}, st.integers(0, 50), st.integers(1, 50)),
    st.builds(lambda start, stop: {"start": start, "stop": stop}, *share),
)
word = st.one_of(text, st.tuples(text, st.integers(0, 9)).map(list))


def listed(item):
    return st.one_of(item.filter(lambda each: not isinstance(each, list)), st.lists(item, min_size=1, max_size=3))


def section(**optional):
    return st.fixed_dictionaries({}, optional=optional)


layers = listed(text)
configs = section(
    model=st.one_of(name, st.fixed_dictionaries({"name": name}, optional={"revision": name, "variant": name})),
    dtype=st.sampled_from(["auto", "float32", "bfloat16", "float16"]),
    device=st.sampled_from(["auto", "cpu", "cuda:1"]),
    scheduler=st.one_of(
        name,
        st.fixed_dictionaries(
            {"name": name}, optional={"options": st.dictionaries(text, st.none() | number | st.booleans())}
        ),
    ),
    steps=st.integers(1, 99),
    guidance=number,
    true_cfg=number,
    size=section(height=st.integers(1, 4096), width=st.integers(1, 4096)),
    seed=st.one_of(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3, unique=True)),
    images=st.integers(1, 9),
    prompt=listed(text),
    negative_prompt=text,
    clip_skip=st.integers(0, 3),
    max_sequence_length=st.integers(1, 512),
    weighting=st.one_of(
        section(
            where=st.sampled_from(PLACES),
            strength=st.one_of(st.just("exact"), st.floats(1e-3, 1e3)),
            layers=layers,
            steps=steps,
            rows=st.sampled_from(["image", "all"]),
        ),
        section(method=st.sampled_from(["prompt-to-prompt", "negpip"]), layers=layers, steps=steps),
        # Options of a method that is not the default one stand beside its name.
        st.fixed_dictionaries(
            {"method": st.sampled_from(EMBEDDING_METHODS)}, optional={"normalisation": st.sampled_from(NORMALISATIONS)}
        ),
        st.fixed_dictionaries({"method": st.just("a1111")}, optional={"restore_mean": st.booleans()}),
        st.fixed_dictionaries({"method": st.sampled_from(POOLED_METHODS)}, optional={"pooled": st.booleans()}),
    ),
    capture=st.one_of(
        st.booleans(),
        section(
            words=listed(word),
            patches=st.lists(st.lists(st.floats(0, 0.99), min_size=2, max_size=2), max_size=3),
            relations=listed(st.sampled_from([each for each in RELATIONS if each != "image->image"])),
            steps=steps,
            layers=layers,
            heads=listed(st.integers(0, 9)),
            per_step=st.booleans(),
            per_head=st.booleans(),
            stream=st.one_of(
                name,
                st.fixed_dictionaries(
                    {"folder": name},
                    optional={
                        "shard_mib": st.floats(0.01, 1e4),
                        "dtype": st.sampled_from(RECORD_DTYPES),
                        "force": st.booleans(),
                    },
                ),
            ),
        ),
    ),
    export=section(
        folder=name,
        force=st.booleans(),
        formats=listed(st.sampled_from(FORMATS)),
        alpha=st.floats(0, 1),
        colormap=st.sampled_from(COLORMAPS),
        words=listed(word),
        layers=layers,
        combine=st.sampled_from(RULES),
    ),
)


@settings(deadline=None, max_examples=60)
@given(configs)
def test_a_config_written_as_yaml_reads_back_the_same(tmp_path_factory, data):
    config = RunConfig.model_validate(data)
    file = tmp_path_factory.mktemp("dumps") / "config.yaml"
    file.write_text(config.to_yaml(), encoding="utf-8")
    again = load_config(file)
    assert again == config
    assert again.to_yaml() == config.to_yaml()
