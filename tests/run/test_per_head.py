"""Heads kept apart: each is what a run over that head alone records, and their mean is the map."""

import numpy as np
import pytest
import tiny_pipelines as tiny
import torch

import promptattn
from promptattn.errors import CaptureError
from promptattn.maps import HeatMaps
from promptattn.maps.capture import Capture

PROMPT = "a red cat and a gray mouse"
EXACT = dict(rtol=0, atol=1e-6)


def generate(pipe, prompt=PROMPT, capture=False, **options):
    """The run and the latents of two steps at a fixed seed."""
    with promptattn.attend(pipe, prompt, capture=capture, **options) as run:
        generator = torch.Generator().manual_seed(0)
        images = pipe(
            **run.inputs, num_inference_steps=2, generator=generator, height=16, width=24, output_type="latent"
        ).images
    return run, images


@pytest.fixture(scope="module")
def pipe():
    return tiny.sd()


@pytest.fixture(scope="module")
def apart(pipe):
    return generate(pipe, capture=Capture(per_head=True))


def test_the_image_stays_the_same_to_the_bit(pipe, apart):
    assert torch.equal(apart[1], generate(pipe)[1])


def test_the_mean_over_heads_is_the_map(pipe, apart):
    whole = generate(pipe, capture=Capture())[0].maps
    for mine, plain in zip(apart[0].maps.records, whole.records, strict=True):
        np.testing.assert_allclose(mine.mass, plain.mass, **EXACT)
        np.testing.assert_allclose(mine.per_head.mean(axis=1), plain.mass, **EXACT)
        assert plain.per_head is None


def test_each_head_is_what_a_run_over_it_alone_records(pipe, apart):
    maps = apart[0].maps
    heads = {record.per_head.shape[1] for record in maps.records}
    assert min(heads) >= 2
    for head in range(min(heads)):
        alone = generate(pipe, capture=Capture(heads=[head]))[0].maps
        for mine, single in zip(maps.head(head).records, alone.records, strict=True):
            np.testing.assert_allclose(mine.mass, single.mass, **EXACT)
    first, second = (maps.head(head)["cat"].array for head in (0, 1))
    assert np.abs(first - second).max() > 1e-4


def test_batches_steps_and_weights_keep_heads_apart_too(pipe):
    prompts = ["a (red:2) cat", "un gato y un ratón"]
    maps = generate(pipe, prompts, Capture(per_head=True, per_step=True), num_images_per_prompt=2)[0].maps
    plain = generate(pipe, prompts, Capture(per_step=True), num_images_per_prompt=2)[0].maps
    for mine, other in zip(maps.records, plain.records, strict=True):
        assert mine.per_head.shape[0] == mine.mass.shape[0] == 4
        np.testing.assert_allclose(mine.per_head.mean(axis=1), other.mass, **EXACT)
        np.testing.assert_allclose(mine.per_step, other.per_step, **EXACT)
        np.testing.assert_allclose(mine.per_head[0].sum(axis=-1), 1, atol=1e-5)
    assert not np.allclose(maps.records[0].per_head[0], maps.records[0].per_head[2])


def test_chosen_heads_keep_their_numbers(pipe, apart, tmp_path):
    maps = generate(pipe, capture=Capture(heads=[1], per_head=True))[0].maps
    read = HeatMaps.load(maps.save(tmp_path / "out"))
    for each in (maps, read):
        assert {record.head_numbers for record in each.records} == {(1,)}
        np.testing.assert_allclose(each.head(1)["cat"].array, apart[0].maps.head(1)["cat"].array, **EXACT)
        with pytest.raises(CaptureError, match=r"Head 0 was not recorded in layer .* Recorded: 1"):
            each.head(0)


def test_heads_that_were_not_kept_apart_say_how(pipe):
    with pytest.raises(CaptureError, match=r"Capture\(per_head=True\)"):
        generate(pipe, capture=Capture())[0].maps.head(0)


def test_patches_stay_a_mean_over_heads(pipe):
    place = [(0.5, 0.25)]
    apart = generate(pipe, capture=Capture(patches=place, per_head=True))[0].maps
    plain = generate(pipe, capture=Capture(patches=place))[0].maps
    np.testing.assert_array_equal(apart.patch(0).array, plain.patch(0).array)
