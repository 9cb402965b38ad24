"""What is streamed is what a run in memory records, to the bit; the image is the same, and the size was told before."""

import diffusers
import numpy as np
import pytest
import torch

import promptattn
from promptattn import Capture, Stream
from promptattn.errors import CaptureError, ConfigError
from promptattn.maps import HeatMaps

PROMPT = "a (red:1.4) cat and a gray mouse"
PATCHES = [(0.3, 0.7), (0.99, 0.0)]
KINDS = ["sd", "sdxl", "sd3", "sd3-dual", "flux"]
ROUNDED = dict(rtol=0, atol=3e-7)


def everything(kind, **options):
    """Every relation that there is in this kind of model."""
    joint = ["text->image"] if kind.startswith(("sd3", "flux")) else []
    return Capture(relations=["image->text", "text->text", *joint], patches=PATCHES, **options)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def streamed(pipes, make, kind, tmp_path_factory):
    """A run whose heads are averaged over, its image, and the sizes that were told before it and at its first step."""
    told = []
    stream = Stream(tmp_path_factory.mktemp("streams") / "records", shard_mib=0.02, on_size=told.append)
    before = lambda run: told.append(run.records_size(3, height=32, width=24))  # noqa: E731
    run, image = make(pipes(kind), PROMPT, everything(kind, stream=stream), before=before)
    return run, image, told


def assert_equal_maps(mine: HeatMaps, other: HeatMaps, **tolerance):
    """The same maps of the same layers, in the same order; of the denoiser, not of text encoders."""
    for part in ("records", "sources", "patches"):
        assert [each.name for each in getattr(mine, part)] == [each.name for each in getattr(other, part)]
        for one, two in zip(getattr(mine, part), getattr(other, part), strict=True):
            np.testing.assert_allclose(one.mass, two.mass, **tolerance)
    ours, theirs = ([each for each in maps.text_attention if each.image is not None] for maps in (mine, other))
    assert [each.encoder for each in ours] == [each.encoder for each in theirs]
    for one, two in zip(ours, theirs, strict=True):
        assert one.columns == two.columns
        np.testing.assert_allclose(one.mass, two.mass, **tolerance)


EXACT = dict(rtol=0, atol=0)


def test_the_image_is_the_same_to_the_bit(pipes, make, kind, streamed):
    assert torch.equal(streamed[1], make(pipes(kind), PROMPT, False)[1])


def test_the_bytes_were_told_before_to_the_byte(streamed):
    run, _, (before, at_the_first_step) = streamed
    records = run.records
    assert before == at_the_first_step == records.planned
    assert before.bytes == records.bytes == sum(records.tensor(each).nbytes for each in records)
    assert before.records == len(records)
    assert records.complete
    assert records.steps == (0, 1, 2)


def test_every_step_is_what_memory_keeps_of_it_to_the_bit(pipes, make, kind, streamed):
    records = streamed[0].records
    kept = make(pipes(kind), PROMPT, everything(kind, per_step=True))[0].maps
    for step in range(3):
        for layer in kept.records:
            np.testing.assert_array_equal(records.array(step, layer.name), layer.per_step[step])
        for layer in kept.sources:
            np.testing.assert_array_equal(records.array(step, layer.name, "text->image"), layer.per_step[step])
        alone = make(pipes(kind), PROMPT, everything(kind, steps=[step]))[0].maps
        assert_equal_maps(records.maps(step), alone, **EXACT)


def test_the_mean_over_steps_is_the_map_of_the_run(pipes, make, kind, streamed):
    run, records = streamed[0], streamed[0].records
    assert_equal_maps(records.maps(), run.maps, **EXACT)
    assert_equal_maps(run.maps, make(pipes(kind), PROMPT, everything(kind))[0].maps, **EXACT)
    np.testing.assert_array_equal(records.maps()["red cat"].array, run.maps["red cat"].array)
    half = make(pipes(kind), PROMPT, everything(kind, steps=(0.5, 1.0)))[0].maps
    assert_equal_maps(records.maps(steps=(0.5, 1.0)), half, **EXACT)


def test_every_head_is_what_memory_keeps_of_it_to_the_bit(pipes, make, kind, tmp_path):
    pipe = pipes(kind)
    run, image = make(pipe, PROMPT, everything(kind, per_head=True, stream=Stream(tmp_path / "r", shard_mib=0.02)))
    assert torch.equal(image, make(pipe, PROMPT, False)[1])
    records = run.records
    assert records.bytes == records.planned.bytes
    assert_equal_maps(records.maps(), run.maps, **ROUNDED)
    for step in (0, 2):
        alone = make(pipe, PROMPT, everything(kind, steps=[step], per_head=True))[0].maps
        for layer in alone.records:
            np.testing.assert_array_equal(records.array(step, layer.name), layer.per_head)
            for at, head in enumerate(records.heads(layer.name)):
                one = records.array(step, layer.name, head=head)
                np.testing.assert_array_equal(one, layer.per_head[:, at])
    # In memory patches, and what words look at, are means over heads; one head is what a run over it alone records.
    head = make(pipe, PROMPT, everything(kind, heads=[1]))[0].maps
    assert_equal_maps(records.maps(head=1), head, **ROUNDED)


def test_batches_weights_and_chosen_words_layers_and_heads(pipes, make, tmp_path):
    prompts = ["a (cat:2) and a mouse", "un gato rojo"]
    chosen = dict(words=["cat", "gato"], layers="*attn2", heads=[1], steps=(1, 3))
    options = dict(attend=dict(num_images_per_prompt=2), steps=4)
    run, image = make(pipes("sd"), prompts, Capture(**chosen, per_head=True, stream=tmp_path / "r"), **options)
    records = run.records
    assert records.bytes == records.planned.bytes
    assert records.prompt_index == (0, 0, 1, 1)
    assert records.steps == (1, 2)
    assert all(records.heads(layer) == (1,) for layer in records.layers())
    other, same = make(pipes("sd"), prompts, Capture(**chosen), **options)
    assert torch.equal(image, same)
    assert_equal_maps(records.maps(), other.maps, **ROUNDED)
    with pytest.raises(CaptureError, match=r"Head 0 was not recorded .* Recorded: 1"):
        records.maps(head=0)
    assert records.maps(2).image(0)["cat"].array.any()


SEVERAL = {
    "AND": ("a red cat AND a gray mouse :0.5", None),
    "schedule": ("a [cat:dog:0.5] on a [red|blue] table", None),
    "scheduled AND": ("a cat AND [a dog:a mouse:0.5] :2", None),
    "two calls a step": ("a red cat", diffusers.HeunDiscreteScheduler),
    "Runge-Kutta": ("a red cat", diffusers.PNDMScheduler),
}


@pytest.mark.parametrize(("prompt", "scheduler"), SEVERAL.values(), ids=SEVERAL)
def test_several_predictions_of_a_step_are_records_of_their_own_and_one_map(pipes, make, tmp_path, prompt, scheduler):
    pipe = pipes("sd")
    before, told = pipe.scheduler, []
    try:
        if scheduler is not None:
            pipe.scheduler = scheduler.from_config(before.config)
        size = lambda run: told.append(run.records_size(4, height=32, width=24))  # noqa: E731
        run, image = make(pipe, prompt, Capture(stream=tmp_path / "r"), steps=4, before=size)
        kept, same = make(pipe, prompt, Capture(per_step=True), steps=4)
    finally:
        pipe.scheduler = before
    records = run.records
    assert torch.equal(image, same)
    assert told[0].bytes == records.bytes == records.planned.bytes
    assert records.steps == (0, 1, 2, 3)
    for layer in kept.maps.records:
        for step in range(4):
            np.testing.assert_array_equal(records.array(step, layer.name), layer.per_step[step])
    assert_equal_maps(records.maps(), kept.maps, **ROUNDED)
    if scheduler is not None or "AND" in prompt:
        assert len(records) > 4 * len(kept.maps.records)


def test_a_half_is_half_the_bytes_and_rounded_to_eleven_bits(pipes, make, tmp_path):
    whole = make(pipes("sd"), PROMPT, Capture(stream=tmp_path / "whole"))[0].records
    half = make(pipes("sd"), PROMPT, Capture(stream=Stream(tmp_path / "half", dtype="float16")))[0].records
    assert half.bytes * 2 == whole.bytes
    assert half.planned.bytes == half.bytes
    for one, two in zip(half, whole, strict=True):
        assert half.tensor(one).dtype == np.float16
        np.testing.assert_array_equal(half.tensor(one), whole.tensor(two).astype(np.float16))
    layer = half.layers()[0]
    assert half.array(0, layer).dtype == np.float32
    assert half.maps(0)["cat"].array.dtype == np.float32


def test_steps_may_stay_apart_in_memory_too(pipes, make, tmp_path):
    run, _ = make(pipes("sd"), PROMPT, Capture(stream=tmp_path / "r", per_step=True, per_head=True))
    for step in range(3):
        for mine, other in zip(run.maps.step(step).records, run.records.maps(step).records, strict=True):
            np.testing.assert_allclose(mine.mass, other.mass, **ROUNDED)


def test_every_further_call_has_a_folder_of_its_own(pipes, tmp_path):
    pipe = pipes("sd")
    with promptattn.attend(pipe, PROMPT, capture=Capture(stream=tmp_path / "r")) as run:
        with pytest.raises(CaptureError, match="no records yet"):
            _ = run.records
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            pipe(**run.inputs, height=32, width=24, num_inference_steps=2, generator=generator, output_type="latent")
            assert run.records.complete
            assert_equal_maps(run.records.maps(), run.maps, **EXACT)
    first, second = (promptattn.open_records(tmp_path / name) for name in ("r", "r-2"))
    assert not np.array_equal(first.maps()["cat"].array, second.maps()["cat"].array)


def test_without_a_stream_it_is_said_that_there_is_none(pipes, make):
    run, _ = make(pipes("sd"), PROMPT, Capture(), steps=1)
    for ask in (lambda: run.records, lambda: run.records_size(3)):
        with pytest.raises(CaptureError, match=r'Capture\(stream="a folder"\)'):
            ask()


def test_the_size_is_there_from_entry_on_and_knows_the_usual_image(pipes, tmp_path):
    pipe = pipes("sd")
    run = promptattn.attend(pipe, PROMPT, capture=Capture(stream=tmp_path / "r"))
    with pytest.raises(ConfigError, match="once the run is entered"):
        run.records_size(3)
    with run:
        usual, small = run.records_size(3), run.records_size(3, height=16, width=16)
        assert usual == run.records_size(3, height=32, width=32)  # of 16 latents, two pixels each
        assert usual.bytes == 4 * small.bytes
        assert run.records_size(6).bytes == 2 * usual.bytes
        assert run.records_size().steps == 50
        assert str(usual) == f"{usual.bytes / 1000:.3g} kB in {usual.records} records (3 steps, {usual.layers} layers)"
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("stream", [dict(shard_mib=0), dict(shard_mib=float("nan")), dict(dtype="bfloat16")])
def test_options_that_cannot_be_are_refused(stream):
    with pytest.raises(ConfigError, match=next(iter(stream))):
        Stream("r", **stream)
