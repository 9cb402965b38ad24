"""A step of a scheduled run is that step of a plain run: weights, negative prompts, batches, chunks and all."""

import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from swapping import generate, spliced

import promptattn
from promptattn.errors import PromptAttnWarning

ALL = {**tiny.PIPELINES, "sd3": tiny.sd3, "flux": tiny.flux}
LONG = ", ".join(["a red cat and a gray mouse on a table"] * 10)
EXACT = dict(capture=False)

# A prompt, its negative prompt, and what they are from which step of four on.
CASES = {
    "weights": (
        "a (cat:[1.1:1.4:0.5]) and (dog:0.7)",
        "ugly",
        [(0, "a (cat:1.1) and (dog:0.7)", "ugly"), (2, "a (cat:1.4) and (dog:0.7)", "ugly")],
    ),
    "a weight in the text encoder": (
        "a [(cat:0):(cat:1.5):1] and a dog",
        "ugly",
        [(0, "a (cat:0) and a dog", "ugly"), (1, "a (cat:1.5) and a dog", "ugly")],
    ),
    "the negative prompt": (
        "a (red:1.3) cat",
        "[ugly:(blurry:1.5):3]",
        [(0, "a (red:1.3) cat", "ugly"), (3, "a (red:1.3) cat", "(blurry:1.5)")],
    ),
    "both": (
        "a [cat|dog]",
        "[ugly|(blurry:0.5)|]",
        [(0, "a cat", "ugly"), (1, "a dog", "(blurry:0.5)"), (2, "a cat", ""), (3, "a dog", "ugly")],
    ),
    "from nothing": ("[:a (cat:1.2):2]", "", [(0, "", ""), (2, "a (cat:1.2)", "")]),
    "Spanish": ("un [gato:(ratón:1.3):0.25] gris", None, [(0, "un gato gris", None), (1, "un (ratón:1.3) gris", None)]),
    "a batch": (
        ["a [cat:(dog:1.5):1]", "a [(red:0.5)|blue] house"],
        ["ugly", "[blurry:dog:3]"],
        [
            (0, ["a cat", "a (red:0.5) house"], ["ugly", "blurry"]),
            (1, ["a (dog:1.5)", "a blue house"], ["ugly", "blurry"]),
            (2, ["a (dog:1.5)", "a (red:0.5) house"], ["ugly", "blurry"]),
            (3, ["a (dog:1.5)", "a blue house"], ["ugly", "dog"]),
        ],
    ),
}


def attended(prompt, negative, **more):
    return prompt, negative, {**EXACT, **more}


@pytest.fixture(params=list(ALL))
def pipe(request):
    return ALL[request.param]()


@pytest.mark.parametrize("case", CASES)
def test_a_scheduled_run_is_plain_runs_one_after_the_other(pipe, case):
    prompt, negative, versions = CASES[case]
    options = dict(true_cfg_scale=3.0) if isinstance(pipe, diffusers.FluxPipeline) and negative else {}
    expected = spliced(pipe, [(step, attended(*texts)) for step, *texts in versions], **options)
    with promptattn.attend(pipe, prompt, negative, **EXACT) as run:
        ours = generate(pipe, **run.inputs, **options)
    assert torch.equal(ours, expected)
    assert not torch.equal(ours, spliced(pipe, [(0, attended(*versions[0][1:]))], **options))


@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_several_images_of_each_prompt(pipe, guidance):
    more, options = dict(num_images_per_prompt=2), dict(guidance_scale=guidance)
    versions = [(0, "a (cat:1.3)"), (2, "a (dog:0.6)")]
    expected = spliced(pipe, [(step, attended(text, None, **more)) for step, text in versions], **options)
    with promptattn.attend(pipe, "a [(cat:1.3):(dog:0.6):2]", **more) as run:
        ours = generate(pipe, **run.inputs, **options)
    assert len(ours) == 2
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("kind", list(tiny.PIPELINES))
def test_texts_of_other_lengths_come_in_their_own_number_of_chunks(kind):
    pipe = tiny.PIPELINES[kind]()
    expected = spliced(pipe, [(0, attended("a cat", "ugly")), (2, attended(f"a cat, {LONG}", "ugly"))])
    with promptattn.attend(pipe, f"a cat[:, {LONG}:2]", "ugly") as run:
        ours = generate(pipe, **run.inputs)
    assert torch.equal(ours, expected)
    assert run.inputs["prompt_embeds"].shape[1] == 77
    for record in run.maps.records:
        total = torch.from_numpy(record.mass).sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["a1111", "comfy", "compel"])
def test_embedding_methods_weigh_every_text(method):
    pipe = tiny.sdxl()
    more = dict(weighting=method)
    expected = spliced(
        pipe, [(0, attended("a (cat:1.3)", "ugly", **more)), (2, attended("a (dog:0.6)", "ugly", **more))]
    )
    with promptattn.attend(pipe, "a [(cat:1.3):(dog:0.6):2]", "ugly", **more, **EXACT) as run:
        assert torch.equal(generate(pipe, **run.inputs), expected)


def test_clip_skip_holds_for_every_text():
    pipe = tiny.sd()
    expected = spliced(pipe, [(0, attended("a cat", "ugly", clip_skip=1)), (2, attended("a dog", "ugly", clip_skip=1))])
    with promptattn.attend(pipe, "a [cat:dog:2]", "ugly", clip_skip=1, **EXACT) as run:
        assert torch.equal(generate(pipe, **run.inputs), expected)


@pytest.mark.parametrize("scheduler", ["HeunDiscreteScheduler", "PNDMScheduler", "KDPM2DiscreteScheduler"])
def test_a_step_is_the_schedulers_step(scheduler):
    """Heun and DPM2 call the denoiser twice in a step; PNDM's second call corrects its first."""
    pipe = tiny.sd()
    options = dict(skip_prk_steps=True) if scheduler == "PNDMScheduler" else {}
    pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config, **options)
    read = []
    names = {}

    def note(module, args, kwargs):
        read.append(kwargs["encoder_hidden_states"][-1].clone())

    for text in ("a cat", "a dog"):
        names[text] = pipe.encode_prompt(text, "cpu", 1, False)[0][0]
    with promptattn.attend(pipe, "a [cat:dog:2]", "ugly", **EXACT) as run:
        handle = pipe.unet.register_forward_pre_hook(note, with_kwargs=True)  # after the run's, so it sees what is read
        generate(pipe, **run.inputs)
        handle.remove()
    cats = [torch.equal(text, names["a cat"]) for text in read]
    assert all(torch.equal(text, names["a dog"]) for text, cat in zip(read, cats, strict=True) if not cat)
    before = {"HeunDiscreteScheduler": 4, "PNDMScheduler": 3, "KDPM2DiscreteScheduler": 4}[scheduler]
    assert cats == [True] * before + [False] * (len(read) - before)


def test_an_image_to_image_run_counts_its_own_steps():
    pipe = tiny.sd()
    other = diffusers.StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    other.set_progress_bar_config(disable=True)
    image = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    made = dict(image=image, strength=0.5, num_inference_steps=8, output_type="latent")

    def run(prompt, **options):
        with promptattn.attend(other, prompt, "ugly", **EXACT) as attended:
            return other(**attended.inputs, **made, generator=torch.Generator().manual_seed(0), **options).images

    latents = []
    run("a cat", callback_on_step_end=lambda p, s, t, kwargs: latents.append(kwargs["latents"].clone()) or kwargs)
    expected = run(
        "a dog", callback_on_step_end=lambda p, s, t, kwargs: {"latents": latents[s] if s == 1 else kwargs["latents"]}
    )
    assert len(latents) == 4
    assert torch.equal(run("a [cat:dog:2]"), expected)
    assert torch.equal(run("a [cat:dog:0.5]"), expected)


def test_perturbed_attention_guidance_switches_both_positive_blocks():
    pipe = tiny.sd()
    pag = diffusers.StableDiffusionPAGPipeline(
        **{name: each for name, each in pipe.components.items() if name != "image_encoder"},
        pag_applied_layers=["mid"],
        requires_safety_checker=False,
    )
    pag.set_progress_bar_config(disable=True)
    expected = spliced(pag, [(0, attended("a (cat:1.4)", "ugly")), (2, attended("a dog", "ugly"))], pag_scale=2.0)
    with promptattn.attend(pag, "a [(cat:1.4):dog:2]", "ugly", **EXACT) as run:
        assert torch.equal(generate(pag, **run.inputs, pag_scale=2.0), expected)


def test_weights_of_texts_outside_the_steps_are_said():
    pipe = tiny.sd()
    with (
        pytest.warns(PromptAttnWarning, match=r"the weights of 'dog' did not act"),
        promptattn.attend(pipe, "a [(cat:1.4):(dog:1.4):2]", steps=(0, 2), **EXACT) as run,
    ):
        generate(pipe, **run.inputs)
