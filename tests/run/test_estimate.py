"""What a run will take: memory counted without making it, held against what is made."""

from dataclasses import replace

import pytest
import tiny_pipelines as tiny
import torch

import promptattn
from promptattn.errors import ConfigError, PromptAttnWarning
from promptattn.run.cost import counting, estimate
from promptattn.run.cost.counting import peak_bytes, twin_of
from promptattn.run.cost.estimate import Estimate, first_of, parameter_bytes

SMALL = dict(num_inference_steps=3, height=32, width=32)
PIPELINES = {**tiny.PIPELINES, **tiny.JOINT_PIPELINES}


def estimated(pipe, prompt="a cat", **options):
    found = []
    made = promptattn.generate(pipe, prompt, on_estimate=found.append, **{**SMALL, **options})
    (one,) = found
    return one, made


@pytest.mark.parametrize("name", ["sd", "sd3", "flux"])
def test_the_denoiser_holds_at_its_worst_what_is_counted_on_its_twin(name):
    pipe = PIPELINES[name]()
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    held = []

    def count(module, args, kwargs):
        handle.remove()
        with torch.no_grad(), counting._Live() as live:
            module(*args, **kwargs)
        held.append((live.peak, peak_bytes(twin_of(denoiser), *args, **kwargs)))

    handle = denoiser.register_forward_pre_hook(count, with_kwargs=True)
    pipe("a cat", output_type="latent", **SMALL)
    ((real, counted),) = held
    assert counted == real > 0


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_every_part_of_an_estimate(name):
    pipe = PIPELINES[name]()
    found, _ = estimated(pipe)
    own = sum(p.numel() * p.element_size() for part in pipe.components.values() if isinstance(part, torch.nn.Module)
              for p in [*part.parameters(), *part.buffers()])  # fmt: skip
    assert found.parameters == own
    assert found.activations is not None
    assert found.activations > 0
    assert found.free > found.memory
    assert (found.steps, found.calls, found.device) == (3, 1, "cpu")
    assert found.seconds == pytest.approx(3 * found.seconds_per_step)


def test_shared_parameters_count_once():
    pipe = tiny.sd()
    once = parameter_bytes(pipe)
    pipe.unet.conv_out = pipe.unet.conv_in  # the same tensors under a second name
    assert parameter_bytes(pipe) < once


@pytest.mark.parametrize(
    "capture",
    [True, promptattn.Capture(words=["cat"]), promptattn.Capture(per_step=True), promptattn.Capture(per_head=True)],
)
def test_maps_are_counted_to_the_byte(capture):
    pipe = tiny.sd()
    found, made = estimated(pipe, "un gato y a cat", capture=capture, num_images_per_prompt=2, num_inference_steps=5)
    kept = 0
    for layer in made.maps.records:
        # Per step or per head those are recorded, and the mean is made of them afterwards.
        array = layer.per_step if layer.per_step is not None else layer.per_head
        kept += (layer.mass if array is None else array).nbytes
    assert found.maps == kept
    assert estimated(pipe, capture=False)[0].maps == 0


def test_the_decoder_counts_too():
    pipe = tiny.sd()
    found = estimated(pipe, height=64, width=64)[0].activations
    side = 64 // pipe.vae_scale_factor
    latents = torch.empty(1, pipe.vae.config.latent_channels, side, side, device="meta")
    assert found >= peak_bytes(twin_of(pipe.vae).decode, latents) > 0


def test_little_memory_is_told_before_the_first_step(monkeypatch):
    monkeypatch.setattr(estimate, "free", lambda device: 1000)
    with pytest.warns(PromptAttnWarning, match="needs about .* more memory, and 1 KB of cpu is free; .*--height"):
        estimated(tiny.sd())


def test_code_that_cannot_be_followed_is_no_error(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("data dependent")

    monkeypatch.setattr(estimate, "peak_bytes", fail)
    found, _ = estimated(tiny.sd())
    assert found.activations is None
    assert "activations unknown" in str(found)


def test_several_calls_and_long_ones_in_words():
    told = []
    one = Estimate("cpu", 4_800_000_000, 260_000_000, 12_000_000, 10**10, 30, 2.0)
    first_of(told.append, 0, 8)(one)
    assert first_of(told.append, 1, 8) is None
    assert str(told[0]) == (
        "about 8 min (8 x 30 steps of 2 s) and 5.1 GB on cpu: 4.8 GB parameters, 260 MB activations, 12 MB maps"
    )
    assert told[0].as_dict()["seconds"] == 480
    assert str(replace(one, steps=1)).startswith("about 2 s (1 step of 2 s) and ")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: ..."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    ],
)
def test_memory_that_runs_out_is_told_with_the_options_that_take_less(error, monkeypatch):
    pipe = tiny.sd()

    def hungry(*args, **kwargs):
        raise error

    monkeypatch.setattr(pipe.vae.decoder, "forward", hungry)
    with pytest.raises(ConfigError, match="not enough memory for this image; make it smaller") as caught:
        promptattn.generate(pipe, "a cat", capture=False, **SMALL)
    assert "--dtype bfloat16" in str(caught.value)
    assert "maps" not in str(caught.value)
    capture = promptattn.Capture(per_step=True)
    with pytest.raises(ConfigError, match=r"2 images at once; make fewer at once \(--images, --batch\)") as caught:
        promptattn.generate(pipe, "a cat", num_images_per_prompt=2, capture=capture, **SMALL)
    for option in ("--height", "--width", "capture.per_step", "capture.words", "--no-maps", "--dtype"):
        assert option in str(caught.value)
    assert caught.value.__cause__ is error


def test_other_errors_are_not_taken_for_it(monkeypatch):
    pipe = tiny.sd()

    def broken(*args, **kwargs):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(pipe.vae.decoder, "forward", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        promptattn.generate(pipe, "a cat", **SMALL)
