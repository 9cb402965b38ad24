"""Joint attention in Stable Diffusion 3 and Flux: stock images to the bit, and exact maps of all relations."""

import diffusers
import numpy as np
import pytest
import tiny_pipelines as tiny
import torch
from joint_reference import (
    image_layers,
    joint_layers,
    recorded,
)

import promptattn
from promptattn.maps.capture import Capture

PROMPT, NEGATIVE = "a red cat and a gray mouse", "ugly, blurry"
GATO = "un gato rojo persigue a un ratón gris"
LENGTH = 24  # rows of T5
GRID = (8, 6)
PATCHES = [(0.3, 0.7), (0.99, 0.0)]
PLACES = [(2, 4), (7, 0)]  # those patches on the grid
EVERYTHING = Capture(relations=["image->text", "text->text", "text->image"], patches=PATCHES)


def generate(pipe, prompt=None, negative=None, steps=2, guidance=4.0, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    common = dict(num_inference_steps=steps, height=32, width=24, max_sequence_length=LENGTH)
    flux = isinstance(pipe, diffusers.FluxPipeline)
    common["true_cfg_scale" if flux else "guidance_scale"] = guidance
    texts = {} if prompt is None else dict(prompt=prompt)
    texts |= {} if negative is None else dict(negative_prompt=negative)
    return pipe(**texts, **{**common, **options}, generator=generator, output_type="latent").images


def attend(pipe, *texts, **options):
    return promptattn.attend(pipe, *texts, max_sequence_length=LENGTH, **options)


@pytest.fixture(scope="module")
def pipes():
    """Pipelines that no test leaves changed."""
    return {name: make() for name, make in tiny.JOINT_PIPELINES.items()}


@pytest.fixture(params=tiny.JOINT_PIPELINES)
def kind(request):
    return request.param


@pytest.fixture
def pipe(pipes, kind):
    return pipes[kind]


# Where the words stand, from the stock tokenizers alone.


def copies(kind):
    """The encoders whose tokens the denoiser sees: (name, tokenizer, first row, rows)."""
    if kind == "flux":
        return [("text_encoder_2", "tokenizer_2", 0, LENGTH)]
    clip = ("text_encoder", "tokenizer", 0, 77)
    return [clip] if kind == "sd3-no-t5" else [clip, ("text_encoder_3", "tokenizer_3", 77, LENGTH)]


def spans(text):
    """(word, start, end) of words between blanks and commas."""
    words = [word.strip(",") for word in text.split()]
    places, at = [], 0
    for word in words:
        at = text.index(word, at)
        places.append((word, at, at + len(word)))
        at += len(word)
    return places


def rows_of(pipe, tokenizer, text, start, end, window):
    """Rows of the tokens that hold letters of `text[start:end]`, in a window of the tokenizer."""
    options = dict(padding="max_length", max_length=window, truncation=True, return_offsets_mapping=True)
    offsets = getattr(pipe, tokenizer)(text, **options).offset_mapping
    return [row for row, (first, last) in enumerate(offsets) if first < end and last > start and last > first]


def word_rows(pipe, kind, text):
    """For each word in order: its text, and its rows of the text by encoder."""
    return [
        (word, {e: [first + row for row in rows_of(pipe, t, text, *at, n)] for e, t, first, n in copies(kind)})
        for word, *at in spans(text)
    ]


# Comparing what a run recorded with the reference.


def close(ours, expected, tolerance=2e-5):
    ours, expected = torch.as_tensor(np.asarray(ours)).double(), torch.as_tensor(expected).double()
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance)


def mean_of(calls, name, queries, keys, row):
    """Mean over the calls that run the layer; `row`: the image's row of the batch, counted from the end."""
    return torch.stack([call[name].part(queries, keys)[row] for call in calls if name in call]).mean(0)


def check_image(maps, index, images, calls, pipe, kind, text, tolerance=2e-5):
    """All four relations of one image against the reference's calls."""
    ours, row = maps.image(index), index - images
    names = list(joint_layers(pipe.transformer))
    assert list(ours.layers) == names
    words = word_rows(pipe, kind, text)
    assert [word.text for word in ours.words if not word.is_punctuation] == [word for word, _ in words]
    kept = [word for word in ours.words if not word.is_punctuation]
    looking, readings = ours.looking(), {encoder: ours.encoder(encoder) for encoder, *_ in copies(kind)}
    readings = {encoder: (reading, reading.looking()) for encoder, reading in readings.items()}
    joint = {each.encoder: each for each in ours.text_attention if each.encoder.startswith("transformer")}
    assert set(joint) == {f"transformer {encoder}" for encoder, *_ in copies(kind)}
    for layer, name in enumerate(names):
        to_text = mean_of(calls, name, "image", "text", row).unflatten(0, GRID)
        to_image = mean_of(calls, name, "text", "image", row).unflatten(1, GRID)
        among = mean_of(calls, name, "text", "text", row)
        for word, (_, rows) in zip(kept, words, strict=True):
            everywhere = [at for some in rows.values() for at in some]
            close(ours[word].at_layer(name), to_text[..., everywhere].sum(-1), tolerance)
            close(looking[word].at_layer(name), to_image[everywhere].mean(0), tolerance)
            for encoder, some in rows.items():
                reading, reading_looking = readings[encoder]
                own = reading.words[word.index]
                close(reading[own].at_layer(name), to_text[..., some].sum(-1), tolerance)
                close(reading_looking[own].at_layer(name), to_image[some].mean(0), tolerance)
        for encoder, *_ in copies(kind):
            tokens = [at for _, rows in words for at in rows[encoder]]
            found = joint[f"transformer {encoder}"]
            assert found.mass.shape[0] == len(names)
            own = [i for i, info in enumerate(found.columns) if info.text.strip("▁</w>") != ","]
            close(found.mass[layer][np.ix_(own, own)], among[tokens][:, tokens], tolerance)
        record = next(each for each in ours.records if each.name == name)
        to_places = mean_of(calls, name, "image", "image", row)
        close(record.mass[0].sum(-1) + to_places.sum(-1).unflatten(0, GRID).numpy(), torch.ones(GRID), tolerance)
    check_patches(ours, calls, pipe, row, tolerance)


def check_patches(ours, calls, pipe, row, tolerance=2e-5):
    names = [*joint_layers(pipe.transformer), *image_layers(pipe.transformer)]
    assert {(each.name, each.patch) for each in ours.patches} == {(n, p) for n in names for p in PATCHES}
    for each in ours.patches:
        y, x = PLACES[PATCHES.index(each.patch)]
        expected = mean_of(calls, each.name, "image", "image", row)[:, y * GRID[1] + x]
        close(each.mass[0], expected.unflatten(0, GRID), tolerance)


CASES = {
    "guided": (PROMPT, NEGATIVE, {}, {}),
    "not guided": (PROMPT, None, {}, dict(guidance=1.0)),
    "batch": ([PROMPT, GATO], [NEGATIVE, "a dog, and the green hills"], {}, {}),
    "batch of several images": ([PROMPT, GATO], None, dict(num_images_per_prompt=2), dict(guidance=1.0)),
    "several images": (PROMPT, NEGATIVE, dict(num_images_per_prompt=2), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_neutral_runs_are_the_stock_pipeline_to_the_bit_and_all_relations_exact(pipe, kind, case):
    prompt, negative, extra, options = CASES[case]
    with recorded(pipe.transformer) as calls:
        stock = generate(pipe, prompt, negative, **extra, **options)
    with attend(pipe, prompt, negative, capture=False, **extra) as run:
        assert torch.equal(generate(pipe, **run.inputs, **options), stock)
    with attend(pipe, prompt, negative, capture=EVERYTHING, **extra) as run:
        assert torch.equal(generate(pipe, **run.inputs, **options), stock)
    # Flux asks for the prompt and for the negative prompt in turn, SD3 for both in one batch, the prompt's rows last.
    calls = calls[::2] if kind == "flux" and negative is not None else calls
    assert len(calls) == 2
    prompts = [prompt] if isinstance(prompt, str) else prompt
    texts = [each for each in prompts for _ in range(extra.get("num_images_per_prompt", 1))]
    assert len(run.maps) == len(stock) == len(texts)
    for index, text in enumerate(texts):
        check_image(run.maps, index, len(texts), calls, pipe, kind, text)


def test_layers_left_out_of_an_extra_call_in_a_step(pipes):
    """Skip-layer guidance makes a second call in some steps, without some layers, to be guided away from."""
    pipe = pipes["sd3"]
    options = dict(steps=3, skip_guidance_layers=[1], skip_layer_guidance_stop=0.9)
    with recorded(pipe.transformer) as calls:
        stock = generate(pipe, PROMPT, NEGATIVE, **options)
    assert [len(call) for call in calls] == [3, 3, 2, 3, 2]
    with attend(pipe, PROMPT, NEGATIVE, capture=Capture(per_step=True)) as run:
        assert torch.equal(generate(pipe, **run.inputs, **options), stock)
    assert run.maps.meta["steps"] == 3
    whole = [call for call in calls if len(call) == 3]
    for record in run.maps.records:
        assert record.step_numbers == (0, 1, 2)
        rows = word_rows(pipe, "sd3", PROMPT)[2][1]
        for step, call in enumerate(whole):
            expected = call[record.name].part("image", "text")[1].unflatten(0, GRID)
            expected = expected[..., [row for some in rows.values() for row in some]].sum(-1)
            close(run.maps.step(step)["cat"].at_layer(record.name), expected)


def test_flux_with_true_guidance_counts_its_two_calls_as_one_step(pipes):
    pipe = pipes["flux"]
    with attend(pipe, PROMPT, NEGATIVE, capture=Capture(per_step=True, steps=[1, 2])) as run:
        generate(pipe, **run.inputs, steps=3)
    assert {record.step_numbers for record in run.maps.records} == {(1, 2)}
    assert run.maps.meta["steps"] == 3


@pytest.mark.parametrize("kind", ["sd3-dual", "flux"])
def test_bfloat16_is_the_stock_pipeline_to_the_bit(kind):
    pipe = tiny.JOINT_PIPELINES[kind]().to(torch.bfloat16)
    stock = generate(pipe, PROMPT, NEGATIVE)
    with recorded(pipe.transformer) as calls, attend(pipe, PROMPT, NEGATIVE, capture=EVERYTHING) as run:
        assert torch.equal(generate(pipe, **run.inputs), stock)
    calls = calls[::2] if kind == "flux" else calls
    # The reference takes float64 projections of bfloat16 inputs, the model bfloat16 ones: 3 digits agree.
    check_image(run.maps, 0, 1, calls, pipe, kind, PROMPT, tolerance=0.02)
