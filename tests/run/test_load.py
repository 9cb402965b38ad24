"""Models by name, their number formats, devices and schedulers; each failure is one sentence that says what to do."""

import types

import pytest
import tiny_pipelines as tiny
import torch

import promptattn
from promptattn.config import preset
from promptattn.errors import ConfigError, PromptAttnWarning, UnsupportedModelError
from promptattn.prompt import plan
from promptattn.run.loading.device import resolve_device, resolve_dtype
from promptattn.run.loading.hub import hub_error
from promptattn.run.loading.load import load, load_tokenizers, recommended
from promptattn.run.loading.schedulers import check_scheduler, set_scheduler

CPU = torch.device("cpu")


# Names.


@pytest.mark.parametrize("name", ["sdxl", "sd15", "sd3", "flux", "nobody/no-such-model"])
def test_what_is_not_cached_offline_is_one_sentence(name):
    with pytest.raises(UnsupportedModelError) as caught:
        load(name)
    source = preset(name).model.name if preset(name) else name
    assert str(caught.value) == (
        f"the model {source} is not in the local cache, and offline mode is on (HF_HUB_OFFLINE), so it cannot be"
        " fetched: fetch it once with the network, or give a folder, or use the preset 'shapes', which needs no"
        " network."
    )


def test_tokenizers_of_a_model_that_is_not_cached_are_one_sentence():
    with pytest.raises(UnsupportedModelError, match="nobody/none is not in the local cache, and offline mode"):
        load_tokenizers("nobody/none")


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3", "flux"])
def test_tokenizers_alone_plan_as_the_pipeline_does(tmp_path, kind):
    pipe = getattr(tiny, kind)()
    pipe.save_pretrained(tmp_path / "pipe")
    for text in ("a (red:1.4) cat", "a red cat and " * 30):
        alone, whole = (plan(source, text, "ugly") for source in (load_tokenizers(tmp_path / "pipe"), pipe))
        assert alone == whole


def test_a_misspelt_preset_is_answered_with_the_nearest():
    with pytest.raises(UnsupportedModelError, match=r"no model 'sdlx'.*sdxl.*did you mean sdxl\?$"):
        load("sdlx")


def test_the_preset_carries_its_settings():
    pipe = load("shapes")
    assert recommended(pipe) == {"num_inference_steps": 30, "guidance_scale": 4.0, "height": 64, "width": 64}
    assert pipe.unet.dtype == torch.float32
    assert recommended(types.SimpleNamespace(config={"_name_or_path": "nobody/no-such-model"})) == {}


def test_number_formats_by_name(tiny_folder):
    assert load(tiny_folder).unet.dtype == torch.float32
    assert load(tiny_folder, dtype="bfloat16", device="cpu").unet.dtype == torch.bfloat16
    assert load(tiny_folder, dtype=torch.bfloat16, device="auto").unet.dtype == torch.bfloat16


def test_a_variant_that_the_folder_has_not_is_said(tiny_folder):
    with pytest.raises(UnsupportedModelError, match=r"tiny-sd cannot be loaded: .*variant=fp16"):
        load(tiny_folder, variant="fp16")


# The hub's reasons, as its library raises them.


def raised(error, cause):
    try:
        raise error from cause
    except Exception as caught:
        return caught


def hub_failure(kind):
    import huggingface_hub.errors as errors

    if issubclass(getattr(errors, kind), errors.HfHubHTTPError):
        request = types.SimpleNamespace(headers={}, method="GET", url="https://huggingface.co/api/models/a/b")
        response = types.SimpleNamespace(headers={}, request=request, status_code=401)
        return getattr(errors, kind)("401 Client Error", response=response)
    return getattr(errors, kind)("no")


class TimeoutException(Exception):
    """Named like the one of the hub's HTTP library, which is known by its name."""


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (
            "GatedRepoError",
            "its owner asks for consent first: accept the terms at https://huggingface.co/a/b and log in",
        ),
        ("RepositoryNotFoundError", "the hub shows no such model: check the name, or log in with `hf auth login`"),
        ("RevisionNotFoundError", "the hub's a/b has no revision 'v9'"),
        ("OfflineModeIsEnabled", "at revision 'v9' is not in the local cache, and offline mode is on"),
        (
            ConnectionRefusedError(111, "Connection refused"),
            "the hub cannot be reached ([Errno 111] Connection refused)",
        ),
        (TimeoutException("timed out"), "the hub cannot be reached (timed out): check the network"),
        ("HfHubHTTPError", "and the hub answered: 401 Client Error; or give a folder"),
        (ValueError("not a pipeline\nand more"), "the model a/b at revision 'v9' cannot be loaded: not a pipeline."),
    ],
    ids=str,
)
def test_why_a_model_did_not_come(monkeypatch, cause, message):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    cause = hub_failure(cause) if isinstance(cause, str) else cause
    error = cause if isinstance(cause, ValueError) else raised(OSError("the model is not fully cached locally"), cause)
    told = hub_error("a/b", "v9", error)
    assert message in str(told)
    assert "\n" not in str(told)


# Devices and number formats.


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device(None) == resolve_device("auto") == resolve_device("cpu") == CPU
    for name, message in [
        ("cuda", "finds no CUDA GPU here; use cpu, or auto"),
        ("mps", "finds no Apple GPU here"),
        ("gpu", "device='gpu' is no device; choose auto, cpu, cuda"),
    ]:
        with pytest.raises(ConfigError, match=message):
            resolve_device(name)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto") == torch.device("cuda")
    with pytest.raises(ConfigError, match="there are only 1 GPUs, counted from 0"):
        resolve_device("cuda:1")


def test_number_formats(monkeypatch):
    assert resolve_dtype("auto", CPU) == torch.float32
    assert resolve_dtype("bfloat16", CPU) == resolve_dtype(torch.bfloat16, CPU) == torch.bfloat16
    gpu = torch.device("cuda")
    for has, expected in [(True, torch.bfloat16), (False, torch.float16)]:
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has, **_: has)
        assert resolve_dtype("auto", gpu) == expected
    with pytest.raises(ConfigError, match="dtype='fp16' is no number format for weights; choose auto, float32"):
        resolve_dtype("fp16", CPU)
    with pytest.raises(ConfigError, match=r"dtype=torch\.int8"):
        resolve_dtype(torch.int8, CPU)
    with pytest.warns(PromptAttnWarning, match="float16 on the CPU is many times slower"):
        assert resolve_dtype("float16", CPU) == torch.float16


def test_a_device_that_is_too_small_is_said(tiny_folder, monkeypatch):
    import promptattn.run.loading.device as device

    def full(self, *_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(device, "resolve_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr("diffusers.DiffusionPipeline.to", full)
    with pytest.raises(ConfigError, match="cuda has too little memory for this model in float32; choose a smaller"):
        load(tiny_folder, dtype="float32", device="cuda")


@pytest.mark.parametrize("name", ["folder", "owner/name"])
def test_memory_that_runs_out_while_loading_is_no_fault_of_folder_or_hub(name, tiny_folder, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: ...")

    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", full)
    source = str(tiny_folder) if name == "folder" else name
    with pytest.raises(ConfigError, match=f"too little memory to load {source}; choose a smaller .*--dtype bfloat16"):
        load(source)


# Schedulers.


def test_a_scheduler_keeps_the_settings_of_the_first():
    pipe = tiny.sd(prediction_type="v_prediction")
    set_scheduler(pipe, "DPMSolverMultistepScheduler", {"use_karras_sigmas": True})
    assert type(pipe.scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert pipe.scheduler.config.use_karras_sigmas is True
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    made = promptattn.generate(pipe, "a (red:1.4) cat", num_inference_steps=3, height=16, width=16)
    assert made.maps["red"].share > 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Euler", {}, r"diffusers has no scheduler 'Euler'; did you mean EulerDiscreteScheduler\?"),
        ("Eulr", {}, r"no scheduler 'Eulr'; did you mean EulerDiscreteScheduler\?"),
        ("DDIMScheduller", {}, r"no scheduler 'DDIMScheduller'; did you mean DDIMScheduler\?"),
        ("DDIMSchedular", {}, r"no scheduler 'DDIMSchedular'; did you mean DDIMScheduler\?"),
        ("UNet2DConditionModel", {}, "no scheduler 'UNet2DConditionModel'; give the name of a class"),
        ("FlowMatchEulerDiscreteScheduler", {}, r"does not fit StableDiffusionPipeline, whose DDIMScheduler can only"),
        (
            "EulerDiscreteScheduler",
            {"use_karras_sigma": True},
            r"EulerDiscreteScheduler has no option 'use_karras_sigma'; did you mean use_karras_sigmas\?",
        ),
        ("EulerDiscreteScheduler", {"zzz": 1}, "has no option 'zzz'; it has num_train_timesteps, beta_start"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "x"}, "cannot be made: x is not implemented"),
    ],
)
def test_schedulers_that_do_not_fit_are_said(name, options, message):
    pipe = tiny.sd()
    before = pipe.scheduler
    with pytest.raises(ConfigError, match=message):
        set_scheduler(pipe, name, options)
    assert pipe.scheduler is before


def test_a_flow_matching_pipeline_keeps_its_own():
    import diffusers

    pipe = types.SimpleNamespace(scheduler=diffusers.FlowMatchEulerDiscreteScheduler())
    with pytest.raises(ConfigError, match="it works with its own FlowMatchEulerDiscreteScheduler only"):
        set_scheduler(pipe, "DDIMScheduler", {})
    set_scheduler(pipe, "FlowMatchEulerDiscreteScheduler", {"shift": 3.0})
    assert pipe.scheduler.config.shift == 3.0


def test_a_scheduler_whose_library_is_missing_says_so(monkeypatch):
    import diffusers

    class LMSDiscreteScheduler:
        _backends = ("scipy",)

        @classmethod
        def from_config(cls, *_, **__):
            raise ImportError("\nLMSDiscreteScheduler requires the scipy library but it was not found.")

    class Own(diffusers.DDIMScheduler):
        compatibles = (LMSDiscreteScheduler,)

    monkeypatch.setattr(diffusers, "LMSDiscreteScheduler", LMSDiscreteScheduler)
    check_scheduler("LMSDiscreteScheduler")
    with pytest.raises(ConfigError, match="cannot be made: LMSDiscreteScheduler requires the scipy library"):
        set_scheduler(types.SimpleNamespace(scheduler=Own()), "LMSDiscreteScheduler", {"use_karras_sigmas": True})


# Arguments of the pipeline's own call.


def test_arguments_that_a_pipeline_has_not_are_said_and_left_out(monkeypatch):
    pipe = tiny.sd()
    stock = type(pipe).__call__

    class Distilled(type(pipe)):
        def __call__(self, prompt_embeds, negative_prompt_embeds, num_inference_steps, height, width, **rest):
            assert "guidance_scale" not in rest
            options = dict(num_inference_steps=num_inference_steps, height=height, width=width)
            return stock(self, prompt_embeds=prompt_embeds, negative_prompt_embeds=negative_prompt_embeds, **options)

    pipe.__class__ = Distilled
    size = dict(num_inference_steps=2, height=16, width=16)
    with pytest.warns(PromptAttnWarning, match=r"Distilled has no guidance_scale, so guidance_scale=3\.0 does nothing"):
        promptattn.generate(pipe, "a cat", guidance_scale=3.0, **size)


def test_guidance_that_a_distilled_flux_does_not_read_is_said(recwarn):
    size = dict(num_inference_steps=1, height=16, width=16, capture=False)
    with pytest.warns(PromptAttnWarning, match=r"takes no guidance as input, so guidance_scale=3\.0 does nothing"):
        promptattn.generate(tiny.flux(guidance=False), "a cat", guidance_scale=3.0, **size)
    recwarn.clear()
    promptattn.generate(tiny.flux(guidance=False), "a cat", guidance_scale=0.0, **size)
    promptattn.generate(tiny.flux(guidance=True), "a cat", guidance_scale=3.0, **size)
    assert not [warning for warning in recwarn if "guidance" in str(warning.message)]


@pytest.mark.parametrize("guidance", [-3, 0.5])
def test_guidance_that_is_none_is_said(recwarn, guidance):
    size = dict(num_inference_steps=1, height=16, width=16, capture=False)
    with pytest.warns(PromptAttnWarning, match=rf"guidance_scale={guidance} guides no more than 1 does: StableDiff"):
        promptattn.generate(tiny.sd(), "a cat", "ugly", guidance_scale=guidance, **size)
    recwarn.clear()
    for usual in (0, 1, 1.5, None):  # 0 is how none is asked for
        promptattn.generate(tiny.sd(), "a cat", guidance_scale=usual, **size)
    assert not [warning for warning in recwarn if "guidance" in str(warning.message)]


def test_a_negative_prompt_needs_true_guidance_in_flux(recwarn):
    pipe = tiny.flux()
    size = dict(num_inference_steps=1, height=16, width=16, capture=False)
    with pytest.warns(PromptAttnWarning, match="reads a negative prompt only with a true_cfg_scale above 1"):
        without = promptattn.generate(pipe, "a cat", "ugly", **size).images[0]
    recwarn.clear()
    made = promptattn.generate(pipe, "a cat", "ugly", true_cfg_scale=4.0, **size)
    assert not [warning for warning in recwarn if "negative" in str(warning.message)]
    assert made.settings["true_cfg_scale"] == 4.0
    assert made.images[0].tobytes() != without.tobytes()


def test_a_folder_saved_without_an_encoder_loads(tmp_path):
    tiny.sd3(t5=False).save_pretrained(tmp_path / "no-t5")
    pipe = load(tmp_path / "no-t5")
    assert type(pipe).__name__ == "StableDiffusion3Pipeline"
    assert pipe.text_encoder_3 is None
    assert pipe.tokenizer_3 is None
    assert not hasattr(load_tokenizers(tmp_path / "no-t5"), "tokenizer_3")
    made = promptattn.generate(pipe, "a (red:1.4) cat", num_inference_steps=1, height=16, width=16)
    assert made.maps["red"].share > 0
