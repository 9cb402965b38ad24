import functools

import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from reference import WeightedProcessor, cross_layers, recorded

import promptattn
from promptattn.errors import CaptureError, ConfigError, PromptAttnWarning, UnsupportedModelError
from promptattn.maps.capture import Capture
from promptattn.processors import attention_layers

PROMPT, NEGATIVE = "a red cat and a gray mouse", "ugly, blurry"
SIZE = dict(height=16, width=24)  # not square


def generate(pipe, *args, steps=2, guidance=5.0, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    options = dict(num_inference_steps=steps, guidance_scale=guidance, generator=generator, output_type="latent")
    return pipe(*args, **{**options, **SIZE, **kwargs}).images


def processors(pipe):
    return {name: layer.processor for name, layer in attention_layers(pipe.unet).items()}


@pytest.fixture(params=list(tiny.PIPELINES))
def pipe(request):
    return tiny.PIPELINES[request.param]()


@pytest.fixture
def sd():
    return tiny.sd()


CASES = {
    "guided": (PROMPT, NEGATIVE, {}, {}),
    "guided without negative": (PROMPT, None, {}, {}),
    "not guided": (PROMPT, None, {}, dict(guidance=1.0)),
    "batch": ([PROMPT, "un gato rojo"], [NEGATIVE, "dog"], {}, {}),
    "several images": (PROMPT, NEGATIVE, dict(num_images_per_prompt=2), {}),
    "batch of several images": ([PROMPT, "un gato"], [NEGATIVE, ""], dict(num_images_per_prompt=2), {}),
    "empty": ("", "", {}, {}),
    "the same prompt as negative": (PROMPT, PROMPT, {}, {}),
    "the same, two images, not guided": (PROMPT, PROMPT, dict(num_images_per_prompt=2), dict(guidance=1.0)),
}


@pytest.mark.parametrize("case", CASES)
def test_weight_one_is_the_stock_pipeline_to_the_bit_and_maps_are_exact(pipe, case):
    prompt, negative, attend, options = CASES[case]
    with recorded(pipe.unet) as calls:
        reference = generate(pipe, prompt, negative_prompt=negative, **attend, **options)

    with promptattn.attend(pipe, prompt, negative, capture=False, **attend) as run:
        assert torch.equal(generate(pipe, **run.inputs, **options), reference)
    with promptattn.attend(pipe, prompt, negative, **attend) as run:
        assert torch.equal(generate(pipe, **run.inputs, **options), reference)

    # Every cross-attention layer recorded at every step, and its map is that of a dense float64 softmax.
    maps = run.maps
    names = set(cross_layers(pipe.unet))
    assert set(maps.layers) == names
    images = len(reference)
    for record in maps.records:
        assert record.grid in ((8, 12), (4, 6))
        expected = torch.stack([call[record.name][-images:] for call in calls]).mean(0)
        tokens = [slot.token for slot in run.plans[0].encoders[0].slots]
        columns = maps.prompts[0].columns
        mass = torch.from_numpy(record.mass).flatten(1, 2).double()
        torch.testing.assert_close(mass.sum(-1), torch.ones(mass.shape[:2]).double(), rtol=0, atol=1e-5)
        for index, column in enumerate(columns):
            if column.kind == "token":
                key = tokens.index(column.token)
                torch.testing.assert_close(mass[0, :, index], expected[0, :, key], rtol=0, atol=1e-5)
        padding = [i for i, slot in enumerate(run.plans[0].encoders[0].slots) if slot.kind == "padding"]
        at = [column.kind for column in columns].index("padding")
        torch.testing.assert_close(mass[0, :, at], expected[0][:, padding].sum(-1), rtol=0, atol=1e-5)


def test_every_step_is_recorded(pipe):
    with recorded(pipe.unet) as calls:
        generate(pipe, PROMPT, steps=3)
    with promptattn.attend(pipe, PROMPT, capture=Capture(per_step=True)) as run:
        generate(pipe, **run.inputs, steps=3)
    for record in run.maps.records:
        assert record.per_step.shape[0] == 3
        for step, call in enumerate(calls):
            mass = torch.from_numpy(record.per_step[step, 0]).flatten(0, 1).double()
            torch.testing.assert_close(mass[:, 1:4], call[record.name][1, :, 1:4], rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*kept in float32")
@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0, -1.0])
def test_weights_act_exactly_on_the_rows_of_their_own_prompt(pipe, weight):
    pipe.to(torch.float64)
    # Each further step of a random denoiser blows rounding up a millionfold, and SDXL's scheduler computes in float32.
    once = functools.partial(generate, pipe, steps=1)
    prompt, negative = f"a (red:{weight}) cat and a gray mouse", "ugly, (blurry:2)"
    plain = once(PROMPT, negative_prompt=NEGATIVE)
    with promptattn.attend(pipe, prompt, negative, where="denoiser", strength="exact", capture=False) as run:
        ours = once(**run.inputs)
    # Position 2 is "red" (start, a, red); in the negative prompt the tokens of "blurry" weigh 2.
    odds = torch.ones(2, 77)
    odds[1, 2] = weight
    blurry = [token.slot for token in run.plans[0].negative[0].tokens if token.start >= len("ugly, ")]
    odds[0, blurry] = 2.0
    for layer in cross_layers(pipe.unet).values():
        layer.set_processor(WeightedProcessor(odds))
    expected = once(PROMPT, negative_prompt=NEGATIVE)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(ours, plain, rtol=1e-3)


def test_maps_are_those_after_weighting(sd):
    odds = torch.ones(1, 77)
    odds[0, 2] = 5.0
    with (
        promptattn.attend(sd, "a (red:5) cat", where="denoiser", strength="exact") as run,
        recorded(sd.unet, odds=odds) as calls,
    ):
        generate(sd, **run.inputs, guidance=1.0)
    for record in run.maps.records:
        expected = torch.stack([call[record.name] for call in calls]).mean(0)[0]
        mass = torch.from_numpy(record.mass[0]).flatten(0, 1).double()
        torch.testing.assert_close(mass[:, :4], expected[:, :4], rtol=0, atol=1e-5)


def test_each_place_acts_only_where_it_says(sd):
    stock = sd.encode_prompt("a red cat", "cpu", 1, False)[0]

    def embeds_and_image(where):
        with promptattn.attend(sd, "a (red:3) cat", where=where, strength="exact", capture=False) as run:
            return run.inputs["prompt_embeds"], generate(sd, **run.inputs)

    plain_image = generate(sd, "a red cat")
    text_embeds, text_image = embeds_and_image("text")
    denoiser_embeds, denoiser_image = embeds_and_image("denoiser")
    both_embeds, both_image = embeds_and_image("both")
    assert torch.equal(denoiser_embeds, stock)
    assert not torch.allclose(text_embeds, stock)
    assert torch.equal(text_embeds, both_embeds)
    # "text" leaves the denoiser alone: the weighted embeddings through the stock pipeline are the same image.
    negative = sd.encode_prompt("", "cpu", 1, False)[0]
    assert torch.equal(text_image, generate(sd, prompt_embeds=text_embeds, negative_prompt_embeds=negative))
    assert not torch.allclose(denoiser_image, plain_image, atol=1e-4)
    assert not torch.allclose(both_image, text_image, atol=1e-4)


def test_by_default_the_text_encoder_takes_part_only_where_words_fade(sd):
    stock = sd.encode_prompt("a red cat", "cpu", 1, False)[0]
    for weight, untouched in ((1.4, True), (0.6, True), (-1.0, False), (0.3, False), (-0.3, False), (0.0, False)):
        with promptattn.attend(sd, f"a (red:{weight}) cat", capture=False) as run:
            assert torch.equal(run.inputs["prompt_embeds"], stock) == untouched


@pytest.mark.filterwarnings("ignore:the weights did not act")
def test_weights_outside_their_steps_and_layers_do_nothing(sd):
    reference = generate(sd, "a red cat", steps=4)
    weighted = {}
    for name, options in {
        "all": {},
        "late": dict(steps=(3, 4)),
        "never": dict(steps=(10, 12)),
        "one layer": dict(layers="mid_block"),
    }.items():
        with promptattn.attend(sd, "a (red:4) cat", where="denoiser", capture=False, **options) as run:
            weighted[name] = generate(sd, **run.inputs, steps=4)
    assert torch.equal(weighted["never"], reference)
    distance = {name: (image - reference).abs().mean() for name, image in weighted.items()}
    assert 0 < distance["late"] < distance["all"]
    assert 0 < distance["one layer"] < distance["all"]


def test_long_prompts_go_in_chunks_and_keep_every_word(pipe):
    prompt = ", ".join(["a red cat and a gray mouse on a table"] * 12) + ", castle"
    with promptattn.attend(pipe, prompt, NEGATIVE) as run:
        embeds, negative = run.inputs["prompt_embeds"], run.inputs["negative_prompt_embeds"]
        generate(pipe, **run.inputs)
    chunks = len(run.plans[0].encoders[0].chunks)
    assert chunks > 1
    assert embeds.shape[1] == negative.shape[1] == 77 * chunks
    castle = run.maps["castle"]
    assert castle.array.shape == (16, 24)
    assert castle.array.max() > 0
    for record in run.maps.records:
        total = torch.from_numpy(record.mass).sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)


def test_clip_skip(sd):
    ids = sd.tokenizer("a red cat", padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        hidden = sd.text_encoder(ids, output_hidden_states=True).hidden_states[-2]
        expected = sd.text_encoder.final_layer_norm(hidden)
    with promptattn.attend(sd, "a red cat", clip_skip=1) as run:
        assert torch.equal(run.inputs["prompt_embeds"], expected)
    with pytest.raises(ConfigError, match=r"clip_skip=9 .* 0 to 2"), promptattn.attend(sd, "cat", clip_skip=9):
        pass


def test_clip_skip_of_sdxl_is_the_pipelines_own():
    pipe = tiny.sdxl()
    expected = generate(pipe, PROMPT, negative_prompt=NEGATIVE, clip_skip=1)
    with promptattn.attend(pipe, PROMPT, NEGATIVE, clip_skip=1) as run:
        assert torch.equal(generate(pipe, **run.inputs), expected)


@pytest.mark.parametrize("scheduler", ["HeunDiscreteScheduler", "KDPM2DiscreteScheduler"])
def test_a_scheduler_that_calls_twice_a_step_counts_steps(sd, scheduler):
    sd.scheduler = getattr(diffusers, scheduler)()
    reference = generate(sd, PROMPT, steps=3)
    with promptattn.attend(sd, PROMPT, capture=Capture(per_step=True)) as run:
        assert torch.equal(generate(sd, **run.inputs, steps=3), reference)
    assert {len(record.per_step) for record in run.maps.records} == {3}


def test_capture_selects_words_layers_steps_and_heads(sd):
    capture = Capture(words=["cat", ("a", 1)], layers=["mid_block"], steps=[1], heads=[0], per_step=True)
    reference = generate(sd, PROMPT, steps=3)
    with promptattn.attend(sd, PROMPT, capture=capture) as run:
        assert torch.equal(generate(sd, **run.inputs, steps=3), reference)
    maps = run.maps
    assert [name.split(".")[0] for name in maps.layers] == ["mid_block"]
    assert len(maps.records[0].per_step) == 1
    assert maps["cat"].array.max() > 0
    assert maps["a", 1].array.max() > 0
    with pytest.raises(CaptureError, match="mouse"):
        maps["mouse"]


def test_patches_of_the_image(sd):
    reference = generate(sd, PROMPT)
    keys = {}
    names = [name for name in attention_layers(sd.unet) if name.endswith("attn1")]

    def watch(name):
        def hook(layer, args, kwargs):
            hidden = args[0]
            query = layer.to_q(hidden).double().unflatten(-1, (layer.heads, -1)).transpose(1, 2)
            key = layer.to_k(hidden).double().unflatten(-1, (layer.heads, -1)).transpose(1, 2)
            mass = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1).mean(1)
            keys.setdefault(name, []).append(mass[1].detach())

        return hook

    handles = [sd.unet.get_submodule(name).register_forward_pre_hook(watch(name), with_kwargs=True) for name in names]
    with promptattn.attend(sd, PROMPT, capture=Capture(patches=[(0.6, 0.3)])) as run:
        assert torch.equal(generate(sd, **run.inputs), reference)
    for handle in handles:
        handle.remove()
    assert {patch.name for patch in run.maps.patches} == set(names)
    for patch in run.maps.patches:
        height, width = patch.grid
        place = int(0.6 * height) * width + int(0.3 * width)
        expected = torch.stack(keys[patch.name]).mean(0)[:, place].reshape(height, width)
        torch.testing.assert_close(torch.from_numpy(patch.mass[0]).double(), expected, rtol=0, atol=1e-5)


# Leaving.


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_everything_is_restored_under_exceptions(pipe, error):
    before, sliced = processors(pipe), pipe.text_encoder.config._attn_implementation
    reference = generate(pipe, PROMPT)

    def stop(*args):
        raise error("stop")

    with pytest.raises(error), promptattn.attend(pipe, "a (red:0) cat") as run:
        generate(pipe, **run.inputs, callback_on_step_end=stop)
    assert all(processors(pipe)[name] is processor for name, processor in before.items())
    assert pipe.text_encoder.config._attn_implementation == sliced
    assert not pipe.unet._forward_pre_hooks
    assert not pipe.text_encoder._forward_pre_hooks
    assert torch.equal(generate(pipe, PROMPT), reference)


def test_nested_runs_each_answer_to_their_own_text(sd):
    before = processors(sd)
    reference = {text: generate(sd, text) for text in ("a red cat", "a gray mouse")}
    with promptattn.attend(sd, "a red cat") as outer:
        with promptattn.attend(sd, "a gray mouse") as inner:
            assert torch.equal(generate(sd, **inner.inputs), reference["a gray mouse"])
            assert torch.equal(generate(sd, **outer.inputs), reference["a red cat"])
        assert torch.equal(generate(sd, **outer.inputs), reference["a red cat"])
    assert inner.maps["mouse"].array.max() > 0
    assert outer.maps["cat"].array.max() > 0
    assert processors(sd) == before


def test_runs_left_in_the_other_order_restore_too(sd):
    before = processors(sd)
    first, second = promptattn.attend(sd, "a red cat"), promptattn.attend(sd, "a gray mouse")
    first.__enter__()
    second.__enter__()
    generate(sd, **first.inputs)
    first.__exit__(None, None, None)
    generate(sd, **second.inputs)
    second.__exit__(None, None, None)
    assert processors(sd) == before
    assert second.maps["mouse"].array.max() > 0


def test_two_pipelines_that_share_a_unet_do_not_mix(sd):
    other = diffusers.StableDiffusionImg2ImgPipeline.from_pipe(sd)
    other.set_progress_bar_config(disable=True)
    assert other.unet is sd.unet
    picture = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))

    def redraw(**inputs):
        generator = torch.Generator().manual_seed(0)
        options = dict(image=picture, strength=0.6, num_inference_steps=4, output_type="latent")
        return other(**inputs, **options, generator=generator).images

    reference = redraw(prompt="a castle")
    with pytest.warns(PromptAttnWarning, match="nothing was weighted"), promptattn.attend(sd, "a (red:0) cat") as run:
        assert torch.equal(redraw(prompt="a castle"), reference)
    with pytest.raises(CaptureError, match=r"other text embeddings.*run\.inputs"):
        _ = run.maps
    with promptattn.attend(other, "a castle") as run:
        assert torch.equal(redraw(**run.inputs), reference)
    assert run.maps["castle"].array.shape == (16, 24)


# What others do to the processors meanwhile.


def test_fused_projections_switched_on_while_attached_are_noticed_and_served(sd):
    with promptattn.attend(sd, "a (red:0) cat", where="denoiser") as run:
        reference = generate(sd, **run.inputs)
        sd.fuse_qkv_projections(vae=False)
        with pytest.warns(PromptAttnWarning, match="replaced by FusedAttnProcessor2_0"):
            fused = generate(sd, **run.inputs)
    torch.testing.assert_close(fused, reference, rtol=0, atol=1e-4)
    assert run.maps["cat"].array.max() > 0
    assert {type(p).__name__ for n, p in processors(sd).items() if "attn2" in n} == {"FusedAttnProcessor2_0"}
    sd.unfuse_qkv_projections(vae=False)
    assert {type(p).__name__ for p in processors(sd).values()} == {"AttnProcessor2_0"}


def test_slicing_switched_on_while_attached_is_refused_by_name(sd):
    with promptattn.attend(sd, PROMPT) as run:
        sd.enable_attention_slicing()
        with pytest.raises(UnsupportedModelError, match=r"SlicedAttnProcessor.*disable_attention_slicing"):
            generate(sd, **run.inputs)
    assert {type(p).__name__ for p in processors(sd).values()} == {"SlicedAttnProcessor"}
    sd.disable_attention_slicing()
    with promptattn.attend(sd, PROMPT) as run:
        generate(sd, **run.inputs)


def test_slicing_switched_on_before_is_refused_before_anything_is_touched(sd):
    sd.enable_attention_slicing()
    before = processors(sd)
    with pytest.raises(UnsupportedModelError, match="SlicedAttnProcessor"), promptattn.attend(sd, PROMPT):
        pass
    assert processors(sd) == before
    assert not sd.unet._forward_pre_hooks


def ip_adapter(unet):
    """Random IP-Adapter weights in the form in which `load_ip_adapter` reads them."""
    generator = torch.Generator().manual_seed(5)

    def random(*shape):
        return torch.randn(*shape, generator=generator) * 0.1

    width = unet.config.cross_attention_dim
    projection = {
        "proj.weight": random(4 * width, 8),
        "proj.bias": random(4 * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    layers = {}
    for index, name in enumerate(unet.attn_processors):
        if "attn2" in name:
            size = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape
            layers |= {f"{index}.to_k_ip.weight": random(*size), f"{index}.to_v_ip.weight": random(*size)}
    return [{"image_proj": projection, "ip_adapter": layers}]


PICTURE = dict(ip_adapter_image_embeds=[torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(6))])


def test_ip_adapter_loaded_before(sd):
    sd.unet._load_ip_adapter_weights(ip_adapter(sd.unet))
    before = processors(sd)
    reference = generate(sd, PROMPT, **PICTURE)
    with promptattn.attend(sd, PROMPT) as run:
        assert torch.equal(generate(sd, **run.inputs, **PICTURE), reference)
        sd.set_ip_adapter_scale(0.25)
    assert run.maps["cat"].array.max() > 0
    assert processors(sd) == before
    scales = {tuple(p.scale) for name, p in before.items() if "attn2" in name}
    assert scales == {(0.25,)}, "what was set while attached holds afterwards"


def test_ip_adapter_loaded_while_attached_is_noticed_and_served(sd):
    with promptattn.attend(sd, PROMPT) as run:
        generate(sd, **run.inputs)
        sd.unet._load_ip_adapter_weights(ip_adapter(sd.unet))
        with pytest.warns(PromptAttnWarning, match="replaced by IPAdapterAttnProcessor2_0"):
            served = generate(sd, **run.inputs, **PICTURE)
    assert run.maps["cat"].array.max() > 0
    kinds = {name.split(".")[-1]: type(processor).__name__ for name, processor in processors(sd).items()}
    assert kinds == {"attn1": "AttnProcessor2_0", "attn2": "IPAdapterAttnProcessor2_0"}
    assert torch.equal(generate(sd, PROMPT, **PICTURE), served)


def test_perturbed_attention_guidance():
    sd = tiny.sd()
    pipe = diffusers.StableDiffusionPAGPipeline(
        **sd.components, pag_applied_layers="mid", requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    before = processors(pipe)
    reference = generate(pipe, PROMPT, negative_prompt=NEGATIVE, pag_scale=2.0)
    with promptattn.attend(pipe, PROMPT, NEGATIVE) as run:
        assert torch.equal(generate(pipe, **run.inputs, pag_scale=2.0), reference)
    assert run.maps["cat"].array.max() > 0
    assert processors(pipe) == before


def test_perturbed_attention_guidance_takes_over_layers_that_are_watched():
    sd = tiny.sd()
    pipe = diffusers.StableDiffusionPAGPipeline(
        **sd.components, pag_applied_layers="mid", requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    before = processors(pipe)
    reference = generate(pipe, PROMPT, negative_prompt=NEGATIVE, pag_scale=2.0)
    with promptattn.attend(pipe, PROMPT, NEGATIVE, capture=Capture(patches=[(0.5, 0.5)])) as run:
        for _ in range(2):
            with pytest.warns(PromptAttnWarning, match="replaced by PAGCFGIdentitySelfAttnProcessor2_0"):
                assert torch.equal(generate(pipe, **run.inputs, pag_scale=2.0), reference)
    assert "mid_block.attentions.0.transformer_blocks.0.attn1" in {patch.name for patch in run.maps.patches}
    assert processors(pipe) == before


# Wrong use, said clearly.


def test_other_embeddings_than_the_runs_are_noticed(sd):
    with pytest.warns(PromptAttnWarning, match=r"run\.inputs"), promptattn.attend(sd, "a (red:2) cat"):
        generate(sd, "a red cat with another text")


def test_maps_before_any_call_say_what_to_do(sd):
    with promptattn.attend(sd, PROMPT) as run, pytest.raises(CaptureError, match=r"pipe\(\*\*run\.inputs\)"):
        _ = run.maps
    with pytest.raises(ConfigError, match="entered"):
        _ = promptattn.attend(sd, PROMPT).inputs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(where="unet"), "where='unet'.*auto, text, denoiser, both"),
        (dict(strength="loud"), "strength='loud'"),
        (dict(strength=-1), "strength=-1"),
        (dict(weighting="a1112"), "weighting='a1112'.*did you mean 'a1111'"),
        (dict(weighting="comfy", where="text"), "where='text': 'comfy' acts on the text embeddings"),
        (dict(steps=(5, 2)), "steps"),
        (dict(num_images_per_prompt=0), "num_images_per_prompt=0"),
    ],
)
def test_options_that_cannot_be_are_refused(sd, options, message):
    with pytest.raises(ConfigError, match=message):
        promptattn.attend(sd, PROMPT, **options)


def test_lists_of_prompts_that_do_not_fit_are_refused(sd):
    with pytest.raises(ConfigError, match="2 prompts but 3 negative"):
        promptattn.attend(sd, ["a", "b"], ["c", "d", "e"])
    with pytest.raises(ConfigError, match="empty"):
        promptattn.attend(sd, [])


@pytest.mark.parametrize("thing", [None, "shapes", torch.nn.Linear(2, 2)])
def test_what_is_no_pipeline_is_refused_by_name(thing):
    with pytest.raises(UnsupportedModelError, match=type(thing).__name__):
        promptattn.attend(thing, PROMPT)


def test_an_unknown_layer_is_refused_and_nothing_stays_behind(sd):
    with pytest.raises(ConfigError, match="no attention layer"), promptattn.attend(sd, PROMPT, layers="nowhere"):
        pass
    assert not sd.unet._forward_pre_hooks
