"""A1111's settings and ours: every scheduler there and back, and a sentence for all that does not come over."""

import inspect
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptattn.errors import PromptAttnWarning
from promptattn.export.metadata.parameters import Parameters, parse_parameters
from promptattn.export.metadata.samplers import SAMPLERS, scheduler_for, written_as
from promptattn.export.metadata.translation import from_a1111, to_a1111

SETTINGS = {
    "prompt": ["a (red:1.4) cat", "un ratón"],
    "negative_prompt": ["ugly", "feo"],
    "seed": 7,
    "num_inference_steps": 20,
    "guidance_scale": 7.0,
    "height": 512,
    "width": 768,
    "num_images_per_prompt": 2,
    "syntax": "a1111",
    "clip_skip": 1,
    "model": "/home/somebody/models/toon",
    "scheduler": {"name": "DPMSolverMultistepScheduler", "options": {"use_karras_sigmas": True}},
}


def read(line, prompt="a cat"):
    settings, notes = from_a1111(parse_parameters(f"{prompt}\nSteps: 20, CFG scale: 7, Seed: 1, {line}"))
    return settings, {note.code: note for note in notes}


def test_each_image_has_its_prompt_and_seed():
    assert to_a1111(SETTINGS, 3) == (
        "un ratón\nNegative prompt: feo\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 10, "
        "Size: 768x512, Model: toon, Clip skip: 2, RNG: CPU, Version: promptattn 0.1.0"
    )


def test_what_is_written_is_read_as_the_same_settings():
    settings, _ = from_a1111(parse_parameters(to_a1111(SETTINGS, 1)))
    same = ("num_inference_steps", "guidance_scale", "height", "width", "clip_skip", "scheduler", "syntax")
    assert {name: settings[name] for name in same} == {name: SETTINGS[name] for name in same}
    assert (settings["prompt"], settings["negative_prompt"], settings["seed"]) == ("a (red:1.4) cat", "ugly", 8)
    assert settings["model"] == "toon"  # where it lies is not told


def test_guidance_of_flux_is_written_as_its_users_know_it():
    text = to_a1111(SETTINGS | {"true_cfg_scale": 1.0, "guidance_scale": 3.5}, 0)
    assert "CFG scale: 1, Distilled CFG Scale: 3.5," in text
    settings, notes = from_a1111(parse_parameters(text))
    assert (settings["true_cfg_scale"], settings["guidance_scale"]) == (1.0, 3.5)
    assert "scheduler" not in settings  # flow matching has its own
    assert any(note.code == "sampler" for note in notes)


def test_another_syntax_is_written_in_a1111s():
    settings = SETTINGS | {"prompt": ["a red++ cat"], "negative_prompt": None, "syntax": "compel"}
    assert to_a1111(settings, 0).startswith("a (red:1.21) cat\nSteps")


def test_what_a1111_cannot_say_is_told_and_stands_as_typed():
    blend = '("a cat", "a dog").blend(0.5, 0.5)'
    with pytest.warns(PromptAttnWarning, match="cannot be written in A1111's syntax"):
        text = to_a1111(SETTINGS | {"prompt": [blend], "syntax": "compel", "negative_prompt": None}, 0)
    assert text.startswith(f"{blend}\nSteps")


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_is_a_scheduler_that_exists_and_takes_its_options(name):
    import diffusers

    sampler, scipy = SAMPLERS[name], find_spec("scipy") is not None
    if not scipy and hasattr(getattr(diffusers, sampler.scheduler), "_backends"):
        pytest.skip("without scipy, diffusers has a placeholder for this scheduler")
    known = inspect.signature(getattr(diffusers, sampler.scheduler).__init__).parameters
    assert sampler.bent == ("use_karras_sigmas" in known)
    assert sampler.spacing == ("timestep_spacing" in known)
    for schedule in (
        "Automatic",
        "Uniform",
        "Karras",
        "Exponential",
        "Beta",
        "SGM Uniform",
        "Simple",
        "Align Your Steps",
    ):
        scheduler, said = scheduler_for(name, schedule)
        assert scheduler["options"].keys() <= known.keys()
        if scipy or not scheduler["options"].get("use_beta_sigmas"):
            getattr(diffusers, scheduler["name"])(**scheduler["options"])
        if schedule == "Align Your Steps":
            assert said


@pytest.mark.parametrize("schedule", ["Uniform", "Karras", "Exponential", "Beta", "SGM Uniform"])
@pytest.mark.parametrize("name", [name for name, sampler in SAMPLERS.items() if not sampler.differs])
def test_samplers_are_written_as_they_are_read(name, schedule):
    scheduler, said = scheduler_for(name, schedule)
    if not said:
        assert written_as(scheduler) == (name, schedule)


@pytest.mark.parametrize(
    ("name", "schedule", "scheduler", "options"),
    [
        ("DPM++ 2M Karras", None, "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
        ("DPM++ 2M", None, "DPMSolverMultistepScheduler", {}),
        ("DPM++ 2M", "Automatic", "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
        (
            "DPM++ 2M SDE",
            "Automatic",
            "DPMSolverMultistepScheduler",
            {"algorithm_type": "sde-dpmsolver++", "use_exponential_sigmas": True},
        ),
        ("euler A", "Automatic", "EulerAncestralDiscreteScheduler", {}),
        ("DDIM", "Automatic", "DDIMScheduler", {}),
    ],
)
def test_old_and_automatic_schedule_types(name, schedule, scheduler, options):
    assert scheduler_for(name, schedule)[0] == {"name": scheduler, "options": options}


def test_unknown_schedulers_go_by_their_class():
    assert written_as({"name": "SomeScheduler", "options": {}}) == ("SomeScheduler", None)
    assert written_as({"name": "FlowMatchEulerDiscreteScheduler", "options": {"shift": 3.0}}) == ("Euler", "Simple")


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("Sampler: DPM adaptive", "sampler", "'DPM adaptive' is none that diffusers has"),
        ("Sampler: DPM++ 2S a Karras", "sampler", "without the fresh noise"),
        ("Sampler: Euler a, Schedule type: Karras", "sampler", "no schedule type 'Karras'"),
        (
            "Hires upscale: 2, Hires steps: 10, Denoising strength: 0.4",
            "hires",
            "Hires upscale: 2, Hires steps: 10, Den",
        ),
        ('Lora hashes: "a: 1, b: 2"', "lora", "load_lora_weights"),
        ("ADetailer model: face.pt, ADetailer confidence: 0.3", "adetailer", "ADetailer confidence: 0.3"),
        ("ENSD: 31337, Eta: 0.5", "noise", "ENSD: 31337, Eta: 0.5"),
        ("Variation seed: 1, Variation seed strength: 0.2", "variation", "not mixed"),
        ("VAE: pretty.vae.pt", "vae", "own VAE"),
        ("Tiling: True", "tiling", "Tiling: True"),
        ("Refiner: x, Refiner switch at: 0.8", "refiner", "Refiner switch at: 0.8"),
        ("TI hashes: x", "embeddings", "textual_inversion"),
        ("ControlNet 0: canny", "controlnet", "ControlNet 0"),
        ("Face restoration: GFPGAN", "face-restoration", "GFPGAN"),
        ("Quantum flux: 12", "unknown-setting", "Quantum flux: 12: promptattn has no such setting"),
        ("Seed: -1", "unread-setting", "Seed: '-1' is not a whole number"),
        ("Seed: 99999999999999999999", "unread-setting", "Seed"),
        ("Steps: many", "unread-setting", "Steps: 'many' is not a number of steps"),
        ("CFG scale: nan", "unread-setting", "CFG scale: 'nan' is not a finite number"),
        ("CFG scale: 1e400", "unread-setting", "finite"),
        ("Size: -5x10", "unread-setting", "Size: '-5x10' is not a width and a height"),
        ("Size: 5x5x5", "unread-setting", "width and a height"),
        ("Clip skip: 0", "unread-setting", "Clip skip"),
        ("RNG: NV", "noise-source", "on NV"),
    ],
)
def test_what_does_not_come_over_is_said(line, code, message):
    _, notes = read(line)
    assert message in str(notes[code])
    assert notes[code].severity == "warning"


def test_the_noise_is_said_to_differ_unless_it_does_not():
    assert read("RNG: CPU")[1]["noise-source"].severity == "info"
    assert "GPU, A1111's default" in str(read("Size: 8x8")[1]["noise-source"])


def test_weights_act_as_they_did():
    settings, notes = read("Sampler: Euler", prompt="a (red:1.3) cat")
    assert settings["weighting"] == "a1111"
    assert "--method attention" in str(notes["weighting"])
    assert "weighting" not in read("Sampler: Euler")[0]
    assert read("Emphasis: No norm", prompt="(a) cat")[0]["restore_mean"] is False
    assert "Emphasis: Ignore" in str(read("Emphasis: Ignore", prompt="(a) cat")[1]["emphasis"])


SETTING_OF = {
    "Steps": "num_inference_steps",
    "Seed": "seed",
    "Size": "width",
    "CFG scale": "guidance_scale",
    "Clip skip": "clip_skip",
    "Sampler": "scheduler",
    "Schedule type": "scheduler",
    "Distilled CFG Scale": "guidance_scale",
    "Hires upscale": None,
    "Something else": None,
}
TEXTS = st.sampled_from(["1", "8x8", "Euler", "Karras", "-1", "nan", "", "x", "1.5", "9" * 30]) | st.text("19x.:,- é")


@given(st.dictionaries(st.sampled_from(sorted(SETTING_OF)), TEXTS))
def test_every_field_is_read_or_said(fields):
    settings, notes = from_a1111(Parameters("a cat", "", fields))
    said = " ".join(map(str, notes))
    for name in fields:
        told = "the sampler" if name in ("Sampler", "Schedule type") else f"{name}: "
        assert SETTING_OF[name] in settings or f"{name}: " in said or told in said
    assert ("width" in settings) == ("height" in settings)
