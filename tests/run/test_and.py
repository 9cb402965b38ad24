"""Prompts joined by AND: predictions add up, compared with loops written out by hand."""

import functools
from contextlib import contextmanager

import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from swapping import SIZE, encoded, generate, spliced, words_at

import promptattn
from promptattn import parse
from promptattn.errors import ConfigError, PromptAttnWarning
from promptattn.processors import attention_layers
from promptattn.prompt import And, Part, Prompt

CAT, DOG, RED = "a cat on a table", "a dog", "red and blue"
PROMPT = f"{CAT} AND {DOG} :0.5 AND {RED} :-0.3"
PARTS = [(CAT, 1.0), (DOG, 0.5), (RED, -0.3)]
NEGATIVE = "ugly, blurry"
GUIDED = {**tiny.PIPELINES, "sd3": tiny.sd3}


@pytest.fixture(params=list(GUIDED))
def pipe(request):
    return GUIDED[request.param]()


def attended(pipe, prompt, negative=None, attend=None, **options):
    with promptattn.attend(pipe, prompt, negative, **(attend or {})) as run:
        return generate(pipe, **run.inputs, **options)


def denoiser_of(pipe):
    return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


@contextmanager
def forward_of(pipe, forward):
    """While open, the denoiser computes `forward(stock, args, kwargs)`."""
    denoiser = denoiser_of(pipe)
    stock = denoiser.forward
    denoiser.forward = functools.wraps(stock)(lambda *args, **kwargs: forward(stock, args, kwargs))
    try:
        yield
    finally:
        del denoiser.forward


def reworded(pipe, kwargs, text):
    """Arguments of a guided call whose second half reads `text`."""
    embeds, pooled = encoded(pipe, text)
    half = len(kwargs["encoder_hidden_states"]) // 2
    changed = {**kwargs, "encoder_hidden_states": torch.cat([kwargs["encoder_hidden_states"][:half], embeds])}
    if kwargs.get("added_cond_kwargs"):
        added = kwargs["added_cond_kwargs"]
        changed["added_cond_kwargs"] = {**added, "text_embeds": torch.cat([added["text_embeds"][:half], pooled])}
    if "pooled_projections" in kwargs:
        changed["pooled_projections"] = torch.cat([kwargs["pooled_projections"][:half], pooled])
    return changed


def guided_sum(pipe, parts):
    """The denoiser of a guided pipeline, the prediction of the prompt replaced by the sum over parts."""

    def forward(stock, args, kwargs):
        outputs = [stock(*args, **reworded(pipe, kwargs, text))[0] for text, _ in parts]
        negative, _ = outputs[0].chunk(2)
        total = negative
        for output, (_, weight) in zip(outputs, parts, strict=True):
            total = total + weight * (output.chunk(2)[1] - negative)
        return (torch.cat([negative, total]),)

    return forward_of(pipe, forward)


def test_a_composable_diffusion_loop_by_hand():
    pipe, guidance, steps = tiny.sd(), 4.0, 3
    texts, against = [pipe.encode_prompt(text, "cpu", 1, False)[0] for text, _ in PARTS], None
    against = pipe.encode_prompt(NEGATIVE, "cpu", 1, False)[0]
    pipe.scheduler.set_timesteps(steps)
    shape = 1, 4, SIZE["height"] // pipe.vae_scale_factor, SIZE["width"] // pipe.vae_scale_factor
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * pipe.scheduler.init_noise_sigma
    with torch.no_grad():
        for timestep in pipe.scheduler.timesteps:
            both = pipe.scheduler.scale_model_input(torch.cat([latents, latents]), timestep)
            outputs = [
                pipe.unet(both, timestep, encoder_hidden_states=torch.cat([against, text])).sample for text in texts
            ]
            noise = outputs[0][:1]
            gain = torch.zeros_like(noise)
            for output, (_, weight) in zip(outputs, PARTS, strict=True):
                gain = gain + weight * (output[1:] - outputs[0][:1])
            latents = pipe.scheduler.step(noise + guidance * gain, timestep, latents).prev_sample
    ours = attended(pipe, PROMPT, NEGATIVE, steps=steps, guidance_scale=guidance)
    torch.testing.assert_close(ours, latents, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("capture", [True, False])
def test_predictions_add_up_in_every_guided_pipeline(pipe, capture):
    with guided_sum(pipe, PARTS):
        expected = generate(pipe, CAT, negative_prompt=NEGATIVE)
    assert torch.equal(attended(pipe, PROMPT, NEGATIVE, dict(capture=capture)), expected)
    assert not torch.allclose(expected, generate(pipe, CAT, negative_prompt=NEGATIVE), atol=1e-3)


def test_one_part_of_weight_one_is_the_plain_prompt_to_the_bit(pipe):
    plain = generate(pipe, CAT, negative_prompt=NEGATIVE)
    alone = Prompt((And((Part(parse(CAT), 1.0),)),))
    assert torch.equal(attended(pipe, alone, NEGATIVE), plain)
    with guided_sum(pipe, [(CAT, 0.5)]):
        expected = generate(pipe, CAT, negative_prompt=NEGATIVE)
    assert torch.equal(attended(pipe, Prompt((And((Part(parse(CAT), 0.5),)),)), NEGATIVE), expected)


def test_without_guidance_the_negative_prediction_is_asked_for_as_well():
    """As A1111 at guidance 1: the sum of all gains, without more."""
    pipe = tiny.sd()
    against = pipe.encode_prompt(NEGATIVE, "cpu", 1, False)[0]

    def forward(stock, args, kwargs):
        def reading(text):
            return stock(*args, **{**kwargs, "encoder_hidden_states": text})[0]

        negative = reading(against)
        total = negative
        for text, weight in PARTS:
            total = total + weight * (reading(encoded(pipe, text)[0]) - negative)
        return (total,)

    with forward_of(pipe, forward):
        expected = generate(pipe, CAT, guidance_scale=1.0)
    assert torch.equal(attended(pipe, PROMPT, NEGATIVE, guidance_scale=1.0), expected)


def test_flux_with_a_negative_prompt():
    pipe = tiny.flux()
    calls = iter(range(100))

    def forward(stock, args, kwargs):
        if next(calls) % 2:  # its call for the negative prompt
            return stock(*args, **kwargs)
        negative = stock(*args, **{**kwargs, **words_at(pipe, NEGATIVE)})[0]
        total = negative
        for text, weight in PARTS:
            total = total + weight * (stock(*args, **{**kwargs, **words_at(pipe, text)})[0] - negative)
        return (total,)

    with forward_of(pipe, forward):
        expected = generate(pipe, CAT, negative_prompt=NEGATIVE, true_cfg_scale=3.0)
    assert torch.equal(attended(pipe, PROMPT, NEGATIVE, true_cfg_scale=3.0), expected)


def test_flux_without_one_averages_and_says_so():
    pipe = tiny.flux()
    weights = [(CAT, 1.0), (DOG, 0.5)]

    def forward(stock, args, kwargs):
        found = [stock(*args, **{**kwargs, **words_at(pipe, text)})[0] * (w / 1.5) for text, w in weights]
        return (sum(found),)

    with forward_of(pipe, forward):
        expected = generate(pipe, CAT)
    with pytest.warns(PromptAttnWarning, match="averaged"):
        ours = attended(pipe, f"{CAT} AND {DOG} :0.5")
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ConfigError, match="do not add up to more than 0"):
        promptattn.attend(pipe, f"{CAT} AND {DOG} :-1")


def test_prompts_of_a_batch_have_parts_of_their_own(pipe):
    prompts, negatives = [f"{CAT} AND {DOG} :0.5", RED, PROMPT], [NEGATIVE, "", NEGATIVE]
    together = attended(pipe, prompts, negatives)
    plain = attended(pipe, [CAT, RED, CAT], negatives)
    assert torch.equal(together[1], plain[1])
    first = attended(pipe, [prompts[0], RED, prompts[0]], negatives)
    assert torch.equal(together[0], first[0])
    assert not torch.allclose(together[2], first[2], atol=1e-3)


def test_several_images_of_a_composed_prompt():
    pipe = tiny.sd()
    images = attended(pipe, PROMPT, NEGATIVE, dict(num_images_per_prompt=2))
    torch.testing.assert_close(images[:1], attended(pipe, PROMPT, NEGATIVE), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(images[0], images[1], atol=1e-2)


def test_parts_may_be_scheduled_and_weighted(pipe):
    options = dict(capture=False)
    expected = spliced(
        pipe, [(0, ("a (cat:1.3) AND a dog", NEGATIVE, options)), (2, ("a mouse AND a (dog:0.5)", NEGATIVE, options))]
    )
    ours = attended(pipe, "a [(cat:1.3):mouse:2] AND a (dog:[1:0.5:0.5])", NEGATIVE)
    assert torch.equal(ours, expected)


def predictions(pipe, *args, **attend):
    """What the denoiser gave, as the pipeline has it, in a run of one step, and the maps of it."""
    outputs = []
    with promptattn.attend(pipe, *args, **attend) as run:
        handle = denoiser_of(pipe).register_forward_hook(lambda module, given, output: outputs.append(output[0]))
        generate(pipe, **run.inputs, steps=1)
        handle.remove()
    return outputs[-1].chunk(2), run.maps.combine("mean")


def test_weights_act_in_their_own_part_and_maps_count_by_share(pipe):
    (negative, cat), cats = predictions(pipe, "a (cat:1.4)", NEGATIVE)
    (_, dog), dogs = predictions(pipe, "a (dog:0.4) cat", NEGATIVE)
    (same, both), maps = predictions(pipe, "a (cat:1.4) AND a (dog:0.4) cat :-0.5", NEGATIVE)
    assert torch.equal(same, negative)
    torch.testing.assert_close(both, negative + (cat - negative) - 0.5 * (dog - negative))
    assert [word.text for word in maps.words] == ["a", "cat", "a", "dog", "cat"]
    for word, alone, share in (
        ("cat", cats["cat"], 2 / 3),
        (("cat", 1), dogs["cat"], 1 / 3),
        ("dog", dogs["dog"], 1 / 3),
    ):
        torch.testing.assert_close(torch.tensor(maps[word].array), share * torch.tensor(alone.array))
    joined = torch.tensor(maps["dog cat"].array)
    torch.testing.assert_close(joined, torch.tensor(dogs["dog cat"].array) / 3)
    if hasattr(pipe, "unet"):
        for record in maps.records:
            total = torch.from_numpy(record.mass).sum(-1)
            torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)


@pytest.mark.parametrize("failing", [2, 3])
def test_an_error_in_a_further_part_leaves_nothing_behind(failing):
    pipe = tiny.sd()
    before = {name: layer.processor for name, layer in attention_layers(pipe.unet).items()}
    plain = generate(pipe, CAT, negative_prompt=NEGATIVE)
    calls = iter(range(1, 100))

    def forward(stock, args, kwargs):
        if next(calls) == failing:
            raise RuntimeError("out of luck")
        return stock(*args, **kwargs)

    with promptattn.attend(pipe, PROMPT, NEGATIVE) as run:
        with pytest.raises(RuntimeError, match="out of luck"), forward_of(pipe, forward):
            generate(pipe, **run.inputs)
        composed = generate(pipe, **run.inputs)
    assert torch.equal(composed, attended(pipe, PROMPT, NEGATIVE))
    assert {name: layer.processor for name, layer in attention_layers(pipe.unet).items()} == before
    assert not pipe.unet._forward_hooks
    assert not pipe.unet._forward_pre_hooks
    assert "step" not in vars(pipe.scheduler)
    assert torch.equal(generate(pipe, CAT, negative_prompt=NEGATIVE), plain)


def test_perturbed_attention_and_skipped_layers_see_the_sum_too():
    """A part joined to itself with weights that make 1 is the prompt alone, whatever else guides."""
    sd = tiny.sd()
    pag = diffusers.StableDiffusionPAGPipeline(
        **{name: each for name, each in sd.components.items() if name != "image_encoder"},
        pag_applied_layers=["mid"],
        requires_safety_checker=False,
    )
    pag.set_progress_bar_config(disable=True)
    skipping = dict(skip_guidance_layers=[1], skip_layer_guidance_start=0.0, skip_layer_guidance_stop=1.0)
    for pipe, options in ((pag, dict(pag_scale=2.0)), (tiny.sd3(), skipping)):
        alone = generate(pipe, CAT, negative_prompt=NEGATIVE, **options)
        halves = attended(pipe, f"{CAT} :0.75 AND {CAT} :0.25", NEGATIVE, **options)
        torch.testing.assert_close(halves, alone, rtol=1e-2, atol=1e-2)
        assert not torch.allclose(attended(pipe, f"{CAT} AND {DOG}", NEGATIVE, **options), alone, atol=5e-2)


def test_the_negative_prompt_cannot_be_composed():
    with pytest.raises(ConfigError, match="negative prompt 'ugly AND blurry' joins texts with AND"):
        promptattn.attend(tiny.sd(), "a cat", "ugly AND blurry")
