"""Every family that promptattn serves: stock images to the bit, exact weights and maps, nothing left behind."""

import dataclasses
import inspect
import itertools
import json
import warnings

import numpy as np
import pytest
import torch
from families.dense import Weighed, dense, image_rows, seats
from families.facts import TABLE
from families.family import NEGATIVE, PROMPT
from families.registry import FAMILIES
from families.watching import text_encoders, watch

import promptattn
from promptattn.errors import ConfigError, PromptAttnWarning, UnsupportedModelError
from promptattn.maps.capture import Capture
from promptattn.processors.install import attention_layers
from promptattn.processors.layouts import LAYOUTS, layout_of
from promptattn.processors.segments import TEXT_LAYOUTS

FACTS = json.loads(TABLE.read_text())

# For each family the tokenizers whose tokens the denoiser's text rows are, with the first row of each; below zero where
# a text is filled up in front, the row of the last token, from the end. Several where a text stands there often.
SERVED = {
    "stable-diffusion-1": {"tokenizer": 0},
    "stable-diffusion-2": {"tokenizer": 0},
    "sdxl": {"tokenizer": 0},
    "sdxl-refiner": {"tokenizer_2": 0},
    "lcm": {"tokenizer": 0},
    "sd3": {"tokenizer": 0, "tokenizer_3": 77},
    "sd3.5-dual": {"tokenizer": 0, "tokenizer_3": 77},
    "flux": {"tokenizer_2": 0},
    "flux-true-cfg": {"tokenizer_2": 0},
    "chroma": {"tokenizer": 0},
    "aura-flow": {"tokenizer": 0},
    "pixart-alpha": {"tokenizer": 0},
    "pixart-sigma": {"tokenizer": 0},
    "qwen-image": {"tokenizer": 0},
    "flux2": {"tokenizer": -2},
    "flux2-klein": {"tokenizer": 3},
    "flux2-klein-distilled": {"tokenizer": 3},
    "z-image": {"tokenizer": 3},
    "lumina2": {"tokenizer": 25},
    "cogview3-plus": {"tokenizer": 0},
    "cogview4": {"tokenizer": -1},
    "ernie": {"tokenizer": 0},
    "ovis": {"tokenizer": 1},
    "bria": {"tokenizer": 0},
    "bria-fibo": {"tokenizer": 0},
    "nucleus-moe": {"tokenizer": 131},
    "qwen-image-2.1": {"tokenizer": 3},
    "krea2": {"tokenizer": 0},
    "krea2-distilled": {"tokenizer": 0},
    "longcat": {"tokenizer": 0},
    "deepfloyd-if": {"tokenizer": 0},
    "prx": {"tokenizer": -1},
    "prx-pixel": {"tokenizer": 0},
    "hunyuan-dit": {"tokenizer": 0, "tokenizer_2": 77},
    "lumina": {"tokenizer": -1},
    "kandinsky-3": {"tokenizer": 0},
    "kandinsky-5": {"tokenizer": 0},
    "sana": {"tokenizer": 0},
    "sana-sprint": {"tokenizer": 0},
    "hunyuan-image": {"tokenizer": 0},
    "alt-diffusion": {"tokenizer": 0},
    "kolors": {"tokenizer": -1},
    "hidream": {"tokenizer_3": 0, "tokenizer_4": (40, 80)},
}

# Those whose prompts are read in a template, and whose negative prompts are not.
NEGATIVE_AS_IT_STANDS = ("lumina2", "sana")

# Those whose stock pipeline makes no batches here, and why.
ONE_IMAGE = {
    "sdxl-refiner": "its family has one picture to go on from",
    "prx": "diffusers cannot make several images with guidance: there are fewer times than rows",
    "prx-pixel": "diffusers cannot make several images with guidance: there are fewer times than rows",
}

# Those that fail in double precision by themselves, and how near to the dense attention they come in single.
SINGLE = {"kandinsky-5": 1e-2}

# Those that are given their prompts as text.
SPOKEN = [
    name
    for name in SERVED
    if any((text := TEXT_LAYOUTS.get(facts["class"])) and text.spoken for facts in FACTS[name]["denoisers"].values())
]

# Those that cannot have texts of unequal length in one batch.
ALONE = ("lumina2",)

# Those whose image attends to itself linearly.
LINEAR = [name for name in SERVED if any(LAYOUTS[each["class"]].linear for each in FACTS[name]["denoisers"].values())]

# Text encoders in which weights cannot act, and why.
UNWEIGHED = dict.fromkeys(("lumina2", "prx", "sana", "sana-sprint"), "caps its scores") | {
    "alt-diffusion": "hands nothing on to its attention layers",
    "kolors": "hands nothing on to its attention layers",
}


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(scope="module")
def pipes():
    """Pipelines that no test leaves changed."""
    return {}


@pytest.fixture(params=SERVED)
def name(request):
    return request.param


@pytest.fixture
def family(name):
    return FAMILIES[name]


@pytest.fixture
def pipe(pipes, name):
    if name not in pipes:
        pipes[name] = FAMILIES[name].make()
    return pipes[name]


def attend(pipe, family, prompt=PROMPT, negative=NEGATIVE, **options):
    length = family.call.get("max_sequence_length")
    texts = (prompt, negative) if family.negative else (prompt,)
    return promptattn.attend(pipe, *texts, max_sequence_length=length, **options)


def image_of(output):
    """What a pipeline made, by whichever of its names."""
    return output.images if "images" in output else output[0]


def stock(pipe, family, prompt=PROMPT, negative=NEGATIVE, **changed):
    return image_of(pipe(**family.arguments(prompt, negative, **changed)))


def ours(pipe, family, run, **changed):
    arguments = family.arguments(**changed)
    return image_of(pipe(**{key: value for key, value in arguments.items() if "prompt" not in key} | run.inputs))


def denoiser_of(pipe, name):
    ((part, _),) = FACTS[name]["denoisers"].items()
    return getattr(pipe, part)


def rows_of(pipe, name, word, text=PROMPT):
    """The rows of the text that hold letters of a word, by the stock tokenizers alone; see `dense.Seats.key`."""
    return [row for token in tokens_of(pipe, name, word, text) for row in token]


def tokens_of(pipe, name, word, text=PROMPT):
    """For each token that holds letters of a word, of whichever tokenizer, the rows of the text where it stands."""
    return [token for tokenizer in SERVED[name] for token in tokens_by(pipe, name, tokenizer, word, text)]


def tokens_by(pipe, name, tokenizer, word, text=PROMPT):
    """Those that are one tokenizer's."""
    start = text.index(word)
    first = 0 if text == NEGATIVE and name in NEGATIVE_AS_IT_STANDS else SERVED[name][tokenizer]
    made_by = getattr(pipe, tokenizer, None) or pipe.processor
    offsets = offsets_by(made_by if hasattr(made_by, "is_fast") else made_by.tokenizer, text)
    return [
        [row + (each if each >= 0 else each + 1 - len(offsets)) for each in np.atleast_1d(first).tolist()]
        for row, (begin, end) in enumerate(offsets)
        if begin < start + len(word) and end > start and end > begin
    ]


def offsets_by(tokenizer, text):
    """The characters that each token stands for, by the tokenizer alone."""
    if tokenizer.is_fast:
        return tokenizer(text, return_offsets_mapping=True).offset_mapping
    # Pieces that are letters of the text, with a mark for each space and one in front.
    ends = list(itertools.accumulate(map(len, tokenizer.tokenize(text))))
    return [(max(start - 1, 0), end - 1) for start, end in itertools.pairwise([0, *ends])]


def test_neutral_runs_and_captures_are_the_stock_pipeline_to_the_bit(pipe, family, name):
    expected = stock(pipe, family)
    with attend(pipe, family, capture=False) as run:
        assert torch.equal(ours(pipe, family, run), expected)
    patches = [] if name in LINEAR else [(0.3, 0.7)]
    everything = Capture(relations=["image->text", "text->text"], patches=patches)
    with attend(pipe, family, capture=everything) as run:
        assert torch.equal(ours(pipe, family, run), expected)


@pytest.mark.parametrize("name", LINEAR)
def test_patches_have_no_map_where_attention_is_linear(pipe, family):
    with pytest.raises(ConfigError, match="places of the image attend to each other linearly"):
        attend(pipe, family, capture=Capture(patches=[(0.3, 0.7)])).__enter__()


def test_batches_of_several_images(pipe, family, name):
    if name in ONE_IMAGE:
        pytest.skip(ONE_IMAGE[name])
    # Of unequal length.
    prompts, negatives = [PROMPT, "dog"], [NEGATIVE, "ugly"]
    # Lists of its own: Z-Image's pipeline writes into those that it is given.
    expected = stock(pipe, family, list(prompts), list(negatives), num_images_per_prompt=2)
    if name in ALONE:
        with (
            pytest.raises(UnsupportedModelError, match="one at a time"),
            attend(pipe, family, prompts, negatives, num_images_per_prompt=2) as run,
        ):
            ours(pipe, family, run)
        return
    with attend(pipe, family, prompts, negatives, num_images_per_prompt=2) as run:
        images = ours(pipe, family, run)
    assert torch.equal(images, expected)
    assert len(run.maps) == 4
    with attend(pipe, family, prompts[1], negatives[1]) as alone:
        ours(pipe, family, alone)
    assert run.maps.image(2)["dog"].array.shape == alone.maps["dog"].array.shape


def test_the_encoders_read_the_very_ids_of_the_stock_pipeline(pipe, family):
    text = "A RED Cat, and  un ratón gris"
    expected = watch(pipe, family.arguments(text))
    with attend(pipe, family, text, capture=False) as run:
        pass
    for encoder, reading in expected.readings.items():
        if not reading.ids:
            continue  # it reads nothing but what stands in quotes
        plan = run.plans[0][encoder]
        # Some encoders read the negative prompt in the same call.
        assert list(plan.chunks[0].ids) in reading.ids[0].tolist()
        assert [word.text for word in plan.words] == ["A", "RED", "Cat", ",", "and", "un", "ratón", "gris"]


def test_every_layer_that_sees_text_records_and_each_word_is_the_dense_attention_to_it(pipe, family, name):
    where = seats(pipe, FACTS[name])
    with dense(pipe, where) as calls:
        stock(pipe, family)
    own = [call for number, call in enumerate(calls) if number % where.calls == where.call]
    with attend(pipe, family) as run:
        ours(pipe, family, run)
    assert {record.name for record in run.maps.records} == set(where.layers)
    assert {layer for call in own for layer in call} == set(where.layers)
    for word in ("cat", "red", "mouse"):
        rows = [where.key(row) for row in rows_of(pipe, name, word)]
        assert rows
        for layer in where.layers:
            expected = torch.stack([call[layer][where.row][..., rows].sum(-1) for call in own]).mean(0)
            found = torch.from_numpy(run.maps[word].at_layer(layer)).double().flatten()
            expected = expected[image_rows(where, len(expected))]
            torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


JOINT = [
    name for name in SERVED if LAYOUTS[next(iter(FACTS[name]["denoisers"].values()))["class"]].attention == "joint"
]


@pytest.mark.parametrize("name", JOINT)
def test_the_other_relations_of_joint_attention_are_the_dense_ones(pipe, family, name):
    where = seats(pipe, FACTS[name])
    with dense(pipe, where) as calls:
        stock(pipe, family)
    own = [call for number, call in enumerate(calls) if number % where.calls == where.call]
    patch = (0.3, 0.7)
    everything = Capture(relations=["image->text", "text->image", "text->text"], patches=[patch])
    with attend(pipe, family, capture=everything) as run:
        ours(pipe, family, run)
    maps = run.maps.image(0)
    looking = maps.looking()
    patches = {each.name: each for each in maps.patches if each.patch == patch}
    assert set(patches) >= set(where.layers)
    tokens = [[where.key(row) for row in rows] for rows in tokens_of(pipe, name, "cat")]
    for layer in where.layers:
        mass = torch.stack([call[layer][where.row] for call in own]).mean(0)
        image = image_rows(where, len(mass))
        height, width = patches[layer].mass.shape[-2:]
        at = image[int(patch[0] * height) * width + int(patch[1] * width)]
        for found, expected in (
            (patches[layer].mass[0], mass[image, at]),
            (looking["cat"].at_layer(layer), torch.stack([mass[rows][:, image].mean(0) for rows in tokens]).mean(0)),
        ):
            torch.testing.assert_close(torch.as_tensor(found).double().flatten(), expected, rtol=0, atol=2e-5)


def test_maps_are_of_the_prompt_and_not_of_the_negative_one(pipe, family, name):
    if not family.negative:
        pytest.skip("it reads no negative prompt")
    images, maps = [], []
    for negative in (NEGATIVE, "dog, dog, dog"):
        with attend(pipe, family, negative=negative, capture=Capture(per_step=True)) as run:
            images.append(ours(pipe, family, run))
        maps.append(run.maps)
    assert not torch.equal(*images)
    # From the same noise the first step sees the same, whatever the negative prompt.
    first, other = (each.step(0)["cat"].array for each in maps)
    assert (first == other).all()
    assert (maps[0].step(1)["cat"].array != maps[1].step(1)["cat"].array).any()


@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_weights_are_odds_of_the_keys_of_their_own_prompt(name, family, weight):
    pipe = family.make()
    if name not in SINGLE:
        pipe.to(torch.float64)
    where = seats(pipe, FACTS[name])
    odds = Weighed(
        dict.fromkeys(rows_of(pipe, name, "cat"), weight),
        dict.fromkeys(rows_of(pipe, name, "blurry", NEGATIVE), 2.0) if family.negative else {},
    )
    plain = stock(pipe, family)
    with dense(pipe, where, odds):
        expected = stock(pipe, family)
    weighted = PROMPT.replace("cat", f"(cat:{weight})"), NEGATIVE.replace("blurry", "(blurry:2)")
    with attend(pipe, family, *weighted, where="denoiser", strength="exact") as run:
        found = ours(pipe, family, run)
    effect = (expected - plain).abs().max()
    assert effect > 1e-6
    # The dense attention and the pipeline's own differ in some float32 constants of theirs (positions, times).
    assert (found - expected).abs().max() < SINGLE.get(name, 1e-4) * effect
    if weight == 0:
        assert (run.maps["cat"].array == 0).all()


def test_texts_that_change_from_step_to_step_come_with_their_masks(pipe, family, name):
    """The second step of a scheduled prompt is given what a run of the second text is given."""
    if name in SPOKEN:
        for prompt in ("[cat:a red dog:1]", "a cat AND a dog"):
            with pytest.raises(UnsupportedModelError, match="encodes its prompt itself"):
                attend(pipe, family, prompt)
        return
    denoiser = denoiser_of(pipe, name)
    given = {}

    def second_step(prompt):
        calls = []
        handle = denoiser.register_forward_hook(
            lambda module, args, kwargs, out: calls.append(kwargs), with_kwargs=True
        )
        try:
            with attend(pipe, family, prompt, capture=False) as run:
                ours(pipe, family, run)
        finally:
            handle.remove()
        return calls[len(calls) // 2]

    given = {
        prompt: second_step(prompt) for prompt in ("[cat:a red dog and a mouse:1]", "a red dog and a mouse", "cat")
    }
    scheduled, alone, other = given.values()
    texts = [key for key in ("encoder_hidden_states", "attention_mask", "encoder_attention_mask") if key in alone]
    for key in texts:
        if alone[key] is not None:
            assert torch.equal(scheduled[key], alone[key]), key
            assert not torch.equal(other[key], alone[key]), key


def test_the_pipeline_is_left_as_it_was(pipe, family, name):
    denoiser, encoders = denoiser_of(pipe, name), text_encoders(pipe)

    def state():
        hooks = [
            len(hooks)
            for model in (denoiser, *encoders.values())
            for module in model.modules()
            for hooks in (module._forward_hooks, module._forward_pre_hooks)
        ]
        kinds = [encoder.config._attn_implementation for encoder in encoders.values()]
        return [id(layer.processor) for layer in attention_layers(denoiser).values()], hooks, kinds

    before = state()
    where = "denoiser" if name in UNWEIGHED else "both"

    def interrupted():
        with attend(pipe, family, "a (red:0) cat", where=where):
            assert state() != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert state() == before


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_weights_act_in_the_text_encoders(pipe, family, name, weight):
    def text(prompt):
        """What the denoiser is given for the prompt."""
        given = []
        handle = denoiser_of(pipe, name).register_forward_pre_hook(
            lambda module, args, kwargs: given.append(layout_of(module).read(module, args, kwargs).text),
            with_kwargs=True,
        )
        try:
            with attend(pipe, family, prompt, where="text", capture=False) as run:
                ours(pipe, family, run)
        finally:
            handle.remove()
        where = seats(pipe, FACTS[name])
        return given[where.call][where.row]

    if name in UNWEIGHED:
        with pytest.raises(UnsupportedModelError, match=UNWEIGHED[name]):
            text(PROMPT.replace("cat", f"(cat:{weight})"))
        return
    plain, weighted = text(PROMPT), text(PROMPT.replace("cat", f"(cat:{weight})"))
    assert weighted.shape == plain.shape
    assert torch.isfinite(weighted).all()
    assert (weighted - plain).abs().max() > 1e-3 * plain.abs().max()


MASKED = ("chroma", "pixart-alpha", "pixart-sigma")


@pytest.mark.parametrize("name", MASKED)
def test_parts_joined_by_and_come_with_their_masks(pipe, family, name):
    denoiser = denoiser_of(pipe, name)

    def calls_of(prompt):
        calls = []
        handle = denoiser.register_forward_hook(
            lambda module, args, kwargs, out: calls.append(kwargs), with_kwargs=True
        )
        try:
            with attend(pipe, family, prompt) as run:
                ours(pipe, family, run)
        finally:
            handle.remove()
        return calls

    mask = "attention_mask" if name == "chroma" else "encoder_attention_mask"
    (alone, *_), joined = calls_of("a red dog and a mouse"), calls_of("cat AND a red dog and a mouse")
    same = [call for call in joined if torch.equal(call["encoder_hidden_states"], alone["encoder_hidden_states"])]
    assert same
    for call in same:
        assert torch.equal(call[mask], alone[mask])
    assert not torch.equal(joined[0][mask], alone[mask])


@pytest.mark.parametrize("name", MASKED)
def test_a_blend_is_masked_where_none_of_its_texts_has_a_token(pipe, family):
    texts = "cat", "a red dog and a mouse"
    masks = []
    for prompt in (*texts, f"({', '.join(map(repr, texts))}).blend(1, 1)".replace("'", '"')):
        with attend(pipe, family, prompt, syntax="compel", capture=False) as run:
            masks.append(run.inputs["prompt_attention_mask"])
    short, long, blend = masks
    assert short.sum() < long.sum()
    assert torch.equal(blend, long)


@pytest.mark.parametrize("name", ["pixart-sigma"])
def test_a_caption_that_the_pipeline_would_clean_is_told(name, family, monkeypatch):
    pipe = family.make()
    monkeypatch.setattr("promptattn.run.obstacles._can_clean", lambda: True)
    monkeypatch.setattr(
        pipe,
        "_text_preprocessing",
        lambda texts, clean_caption=False: [
            text.lower().strip().replace("http://cats", "") if clean_caption else text.lower().strip() for text in texts
        ],
    )
    with pytest.warns(PromptAttnWarning, match="would clean 'A cat http://cats' to 'a cat '"):
        attend(pipe, family, "A cat http://cats")


@pytest.mark.parametrize("name", ["pixart-sigma"])
def test_a_pipeline_that_rewrites_prompts_is_refused(name, family, monkeypatch):
    pipe = family.make()
    monkeypatch.setattr(pipe, "_text_preprocessing", lambda texts, clean_caption=False: [t[::-1] for t in texts])
    with pytest.raises(UnsupportedModelError, match="rewrites 'a cat'"), attend(pipe, family, "a cat"):
        pass


@pytest.mark.parametrize("name", ["pixart-sigma"])
def test_an_encoder_that_reads_other_tokens_than_planned_is_refused(name, family, monkeypatch):
    pipe = family.make()
    own = pipe.encode_prompt

    def encode_prompt(prompt, *args, **kwargs):
        return own([f"{each} dog" for each in prompt], *args, **kwargs)

    encode_prompt.__signature__ = inspect.signature(own)
    monkeypatch.setattr(pipe, "encode_prompt", encode_prompt)
    with pytest.raises(UnsupportedModelError, match="reads other tokens for text_encoder"), attend(pipe, family):
        pass


@pytest.mark.parametrize("name", ["hunyuan-image"])
def test_texts_in_quotes_move_the_others(pipe, family, name):
    """The table of facts is of a prompt with quotes: ByT5's rows of them stand before the others."""
    prompt = family.prompts[0]
    starts = []
    handle = denoiser_of(pipe, name).register_forward_pre_hook(
        lambda module, args, kwargs: starts.append(layout_of(module).read(module, args, kwargs).seats.text.start),
        with_kwargs=True,
    )
    try:
        expected = stock(pipe, family, prompt)
    finally:
        handle.remove()
    (facts,) = FACTS[name]["denoisers"].values()
    *_, group = facts["text_places"]["encoder_hidden_states"]
    assert starts[0] == group["places"]["runs"][0][2]
    with attend(pipe, family, prompt) as run:
        assert torch.equal(ours(pipe, family, run), expected)
    assert run.maps["cat"].array.any()


@pytest.mark.parametrize("name", ["hidream"])
def test_a_square_image_is_not_filled_up(pipe, family, name):
    """The table of facts is of an image that is no square, and stands in as many rows as the largest would."""
    square = dict(height=40, width=40)
    facts = seats(pipe, FACTS[name])
    where = dataclasses.replace(facts, first=100, stop=100 + facts.stop - facts.first, places=100)
    with dense(pipe, where) as calls:
        expected = stock(pipe, family, **square)
    with attend(pipe, family) as run:
        assert torch.equal(ours(pipe, family, run, **square), expected)
    rows = [where.key(row) for row in rows_of(pipe, name, "cat")]
    for layer in where.layers:
        mass = torch.stack([call[layer][where.row][:100, rows].sum(-1) for call in calls]).mean(0)
        found = torch.from_numpy(run.maps["cat"].at_layer(layer)).double().flatten()
        torch.testing.assert_close(found, mass, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["hidream"])
def test_pictures_of_another_size_than_asked_for_are_told(pipe, family):
    length = family.call["max_sequence_length"]
    with pytest.warns(PromptAttnWarning, match="made pictures of 40 x 40 and not of 32 x 32, by its own rule"):
        made = promptattn.generate(pipe, PROMPT, num_inference_steps=1, height=32, width=32, max_sequence_length=length)
    assert made.images[0].size == made.maps["cat"].array.shape == (40, 40)


@pytest.mark.parametrize("name", ["hidream"])
def test_all_its_encoders_read_as_many_tokens_as_they_are_told_to_and_can(pipe):
    """As its pipeline has it: CLIP 218, the others what their tokenizers take."""
    tokenizers = pipe.tokenizer_3, pipe.tokenizer_4
    for length in (40, 300):
        windows = [218, 218, *(each.model_max_length for each in tokenizers)]
        plans = promptattn.plan(pipe, PROMPT, max_sequence_length=length).encoders
        assert [plan.window for plan in plans] == [min(length, window) for window in windows]


@pytest.mark.parametrize("name", ["kandinsky-3", "lumina"])
def test_a_negative_prompt_that_is_cut_to_the_length_of_the_prompt_is_told(pipe, family, name):
    prompt, negative = "dog", "an ugly blurry picture of a cat and a gray mouse with a red hat"
    expected = stock(pipe, family, prompt, negative)
    with (
        pytest.warns(PromptAttnWarning, match=r"the negative prompt is cut to the \d+ rows .* none of .*hat"),
        attend(pipe, family, prompt, negative) as run,
    ):
        assert torch.equal(ours(pipe, family, run), expected)


@pytest.mark.parametrize("name", ["kolors"])
def test_a_text_encoder_that_cannot_be_entered_is_left_alone_and_told(pipe, family):
    with (
        pytest.warns(PromptAttnWarning, match="weights below 0.5 fade out in the denoiser only, not in text_encoder"),
        attend(pipe, family, PROMPT.replace("cat", "(cat:0.3)")) as run,
    ):
        ours(pipe, family, run)
    with (
        pytest.warns(PromptAttnWarning, match="not recorded: ChatGLMModel hands nothing on .*; leave text->text out"),
        attend(pipe, family, capture=Capture(relations=["image->text", "text->text"])),
    ):
        pass
    with warnings.catch_warnings():  # what both of them advise
        warnings.simplefilter("error", PromptAttnWarning)
        capture = Capture(relations="image->text")
        with attend(pipe, family, PROMPT.replace("cat", "(cat:0.3)"), where="denoiser", capture=capture) as run:
            ours(pipe, family, run)


@pytest.mark.parametrize("name", ["kolors"])
def test_a_length_that_the_pipeline_does_not_hand_on_is_refused(pipe):
    with pytest.raises(ConfigError, match="KolorsPipeline reads 256 tokens, whatever max_sequence_length"):
        promptattn.attend(pipe, PROMPT, max_sequence_length=64)
    promptattn.attend(pipe, PROMPT, max_sequence_length=256)


@pytest.mark.parametrize("name", ["kolors"])
def test_positions_that_are_counted_otherwise_are_refused(name, family):
    pipe = family.make()
    own = type(pipe.tokenizer)._pad

    def pad(self, made, **options):
        made = own(self, made, **options)
        return {**made, "position_ids": [each + 1 for each in made["position_ids"]]}

    pipe.tokenizer.__class__ = type("Counting", (type(pipe.tokenizer),), {"_pad": pad})
    with pytest.raises(UnsupportedModelError, match="positions that do not count"), attend(pipe, family):
        pass


@pytest.mark.parametrize("name", ["longcat"])
def test_prompts_that_the_pipeline_would_rewrite_are_read_as_they_stand(pipe, family):
    with pytest.warns(PromptAttnWarning, match="would have a language model rewrite the prompt"):
        attended = attend(pipe, family, 'a cat and "a sign"')
    with attended as run:
        assert run.inputs["enable_prompt_rewrite"] is False
        ours(pipe, family, run)
    # What stands in quotes is tokenised letter by letter.
    sign = next(word for word in run.plans[0]["text_encoder"].words if word.text == "sign")
    assert len(sign.tokens) == 4
    assert run.maps["sign"].array.any()


@pytest.mark.parametrize("name", ["pixart-alpha", "aura-flow", "chroma", "deepfloyd-if"])
def test_generate_makes_the_size_asked_for_and_probe_runs(pipe, family):
    length = {name: value for name, value in family.call.items() if name == "max_sequence_length"}
    made = promptattn.generate(pipe, "a (red:1.5) cat", "ugly", num_inference_steps=2, height=32, width=48, **length)
    assert made.images[0].size == (48, 32)
    assert made.maps["cat"].array.shape == (32, 48)
    assert not promptattn.probe(pipe, **length).inert


def test_every_layout_is_of_a_family_that_is_tested():
    tested = {facts["class"] for name in SERVED for facts in FACTS[name]["denoisers"].values()}
    assert tested == set(LAYOUTS)


@pytest.mark.parametrize(
    ("name", "changed"), [("sana", {"complex_human_instruction": ["Say: "]}), ("z-image", {"max_sequence_length": 12})]
)
def test_a_call_that_reads_the_prompt_otherwise_than_planned_is_refused(pipe, family, changed):
    with (
        attend(pipe, family) as run,
        pytest.raises(UnsupportedModelError, match=r"in other tokens than were planned|was planned for 32 rows"),
    ):
        pipe(
            **{**run.inputs, **changed},
            **{k: v for k, v in family.arguments().items() if "prompt" not in k and k not in {*run.inputs, *changed}},
        )


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in SERVED])
def test_other_families_are_refused_by_name(name):
    if FAMILIES[name].missing:
        pytest.skip(f"{FAMILIES[name].requires} is not installed")
    pipe = FAMILIES[name].make()
    classes = {facts["class"] for facts in FACTS[name]["denoisers"].values()}
    names = [type(pipe).__name__, *classes]
    with pytest.raises(UnsupportedModelError, match="|".join(names)), promptattn.attend(pipe, PROMPT):
        pass
    families = {model.denoiser for model in promptattn.models() if model.refused}
    assert classes & families or name in WITHOUT_ENCODE_PROMPT


# Refused before anything is known of their denoiser: nothing there encodes a prompt.
WITHOUT_ENCODE_PROMPT = ("latent-diffusion",)
