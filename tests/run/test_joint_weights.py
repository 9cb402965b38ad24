"""Weights on text keys in joint attention, against processors of our own that compute them plainly in float64."""

import pytest
import tiny_pipelines as tiny
import torch
from joint_reference import WeightedFluxProcessor, WeightedJointProcessor, joint_layers, recorded
from test_joint import GRID, LENGTH, NEGATIVE, PROMPT, attend, close, generate, mean_of, word_rows

import promptattn

ROWS = {"flux": LENGTH, "sd3-no-t5": 77 + LENGTH}  # of text; the row of zeros in T5's place counts too


@pytest.fixture(params=tiny.JOINT_PIPELINES)
def kind(request):
    return request.param


@pytest.fixture
def pipe(kind):
    return tiny.JOINT_PIPELINES[kind]()


def odds_of(pipe, kind, text, weights):
    """float64 `[text row]`, 1 but for the rows of the words in `weights`, in every encoder."""
    odds = torch.ones(ROWS.get(kind, 77 + LENGTH), dtype=torch.float64)
    for word, rows in word_rows(pipe, kind, text):
        odds[[row for some in rows.values() for row in some]] = weights.get(word, 1.0)
    return odds


def schedule(kind, positive, negative=None):
    """From the number of a denoiser call to the odds of its batch, `[batch, text row]`."""
    if negative is None:
        return lambda call: positive[None]
    if kind == "flux":
        return lambda call: (negative if call % 2 else positive)[None]
    return lambda call: torch.stack([negative, positive])


def reference(pipe, kind, odds, rows, *texts, **options):
    """What the pipeline makes with our own float64 attention in its layers."""
    calls = [-1]

    def begin(*args):
        calls[0] += 1

    handle = pipe.transformer.register_forward_pre_hook(begin)
    cls = WeightedFluxProcessor if kind == "flux" else WeightedJointProcessor
    stock = {name: layer.processor for name, layer in joint_layers(pipe.transformer).items()}
    try:
        for layer in joint_layers(pipe.transformer).values():
            layer.set_processor(cls(lambda: odds(calls[0]), rows, LENGTH))
        return generate(pipe, *texts, **options)
    finally:
        handle.remove()
        for name, layer in joint_layers(pipe.transformer).items():
            layer.set_processor(stock[name])


def weighted(pipe, *texts, rows="image", guidance=4.0, **options):
    with attend(pipe, *texts, where="denoiser", strength="exact", rows=rows, **options) as run:
        return generate(pipe, **run.inputs, guidance=guidance), run


def agree(ours, expected):
    """To float32: some layers and the random denoiser's steps blow rounding up by two digits."""
    scale = expected.abs().max()
    torch.testing.assert_close(ours / scale, expected / scale, rtol=0, atol=2e-5)


@pytest.mark.parametrize("rows", ["image", "all"])
def test_the_reference_with_all_odds_one_is_the_stock_pipeline(pipe, kind, rows):
    ones = torch.ones(ROWS.get(kind, 77 + LENGTH))
    stock = generate(pipe, PROMPT, NEGATIVE)
    agree(reference(pipe, kind, schedule(kind, ones, ones), rows, PROMPT, NEGATIVE), stock)


@pytest.mark.parametrize("rows", ["image", "all"])
@pytest.mark.parametrize(
    ("prompt", "weights"),
    [
        ("a (red:3) cat and a gray (mouse:0.6)", dict(red=3.0, mouse=0.6)),
        ("a (red:0) cat and a gray (mouse:-1.5)", dict(red=0.0, mouse=-1.5)),
    ],
    ids=["gentle", "zero and negative"],
)
def test_weights_act_exactly_on_the_rows_of_their_own_prompt(pipe, kind, prompt, weights, rows):
    plain = generate(pipe, PROMPT, NEGATIVE)
    ours, _ = weighted(pipe, prompt, "ugly, (blurry:2)", rows=rows, capture=False)
    positive, negative = odds_of(pipe, kind, PROMPT, weights), odds_of(pipe, kind, NEGATIVE, dict(blurry=2.0))
    expected = reference(pipe, kind, schedule(kind, positive, negative), rows, PROMPT, NEGATIVE)
    agree(ours, expected)
    assert (expected - plain).abs().max() > 1e-2 * plain.abs().max()


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_each_prompt_of_a_batch_has_its_own_weights(pipe, kind):
    prompts = ["a red cat", "un gato rojo"]
    ours, _ = weighted(pipe, ["a (red:3) cat", "un (gato:0) rojo"], num_images_per_prompt=2, guidance=1.0)
    odds = [odds_of(pipe, kind, prompts[0], dict(red=3.0)), odds_of(pipe, kind, prompts[1], dict(gato=0.0))]
    batch = torch.stack(odds).repeat_interleave(2, dim=0)
    options = dict(num_images_per_prompt=2, guidance=1.0)
    agree(ours, reference(pipe, kind, lambda call: batch, "image", prompts, **options))


@pytest.mark.parametrize("kind", ["sd3-dual", "flux"])
@pytest.mark.parametrize("rows", ["image", "all"])
def test_maps_are_those_after_weighting(pipe, kind, rows):
    odds = schedule(kind, odds_of(pipe, kind, PROMPT, dict(red=5.0, cat=-2.0)))
    with recorded(pipe.transformer, odds, rows) as calls:
        prompt = "a (red:5) (cat:-2) and a gray mouse"
        _, run = weighted(
            pipe, prompt, rows=rows, guidance=1.0, capture=promptattn.Capture(relations=["image->text", "text->image"])
        )
    for name in joint_layers(pipe.transformer):
        to_text = mean_of(calls, name, "image", "text", 0).unflatten(0, GRID)
        to_image = mean_of(calls, name, "text", "image", 0).unflatten(1, GRID)
        for word, (_, copies) in zip(run.maps.words, word_rows(pipe, kind, PROMPT), strict=True):
            everywhere = [row for some in copies.values() for row in some]
            close(run.maps[word].at_layer(name), to_text[..., everywhere].sum(-1))
            close(run.maps.looking()[word].at_layer(name), to_image[everywhere].mean(0))


def test_weight_zero_is_the_same_as_hiding_the_keys_from_the_image(pipe, kind, monkeypatch):
    ours, _ = weighted(pipe, "a (red:0) cat and a gray (mouse:0)", guidance=1.0, capture=False)
    hidden = (odds_of(pipe, kind, PROMPT, dict(red=0.0, mouse=0.0)) == 0).nonzero().flatten()
    texts, places = ROWS.get(kind, 77 + LENGTH), GRID[0] * GRID[1]
    image, first = (slice(texts, None), 0) if kind == "flux" else (slice(0, places), places)
    stock = torch.nn.functional.scaled_dot_product_attention

    def masked(query, key, value, **options):
        if key.shape[-2] != texts + places:
            return stock(query, key, value, **options)
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool)
        mask[image, hidden + first] = False
        return stock(query, key, value, **{**options, "attn_mask": mask})

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", masked)
    agree(ours, generate(pipe, PROMPT, guidance=1.0))


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_weights_are_told_apart_where_prompt_and_negative_prompt_are_the_same_text(pipe, kind):
    ours, _ = weighted(pipe, "a (red:4) cat", "a red cat", capture=False)
    ones = torch.ones(ROWS.get(kind, 77 + LENGTH))
    odds = schedule(kind, odds_of(pipe, kind, "a red cat", dict(red=4.0)), ones)
    agree(ours, reference(pipe, kind, odds, "image", "a red cat", "a red cat"))


def test_the_negative_call_is_told_apart_for_several_images_of_the_same_text_too():
    pipe, texts = tiny.flux(), ("a (red:4) cat", "a red cat")
    alone, _ = weighted(pipe, *texts, capture=False)
    both, _ = weighted(pipe, *texts, capture=False, num_images_per_prompt=2)
    assert len(both) == 2
    agree(both[:1], alone)


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_weights_keep_to_their_steps_and_layers(pipe, kind):
    stock = generate(pipe, PROMPT, guidance=1.0)
    prompt = "a (red:6) cat and a gray mouse"
    first, _ = weighted(pipe, prompt, guidance=1.0, layers="transformer_blocks.0")
    assert not torch.equal(first, stock)
    layers = joint_layers(pipe.transformer)
    odds = odds_of(pipe, kind, PROMPT, dict(red=6.0))[None]
    cls = WeightedFluxProcessor if kind == "flux" else WeightedJointProcessor
    layers["transformer_blocks.0.attn"].set_processor(cls(lambda: odds, "image", LENGTH))
    agree(first, generate(pipe, PROMPT, guidance=1.0))


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_weights_in_every_place_differ(pipe, kind):
    """`text` weighs in the encoders, T5 too, and leaves the denoiser alone."""
    prompt = "a (red:6) cat"
    with attend(pipe, prompt, where="text", strength="exact", capture=False) as run:
        ours = generate(pipe, **run.inputs, guidance=1.0)
    assert torch.equal(ours, generate(pipe, **run.inputs, guidance=1.0))
    with attend(pipe, "a red cat", capture=False) as plain:
        moved = (run.inputs["prompt_embeds"] != plain.inputs["prompt_embeds"]).any(-1)[0]
    for encoder_rows in dict(word_rows(pipe, kind, "a red cat"))["cat"].values():
        assert moved[encoder_rows].all()
