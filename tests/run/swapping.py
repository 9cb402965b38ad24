"""The stock pipelines with their text changed on the way, for comparison: by hand, and without promptattn."""

from contextlib import contextmanager

import torch

import promptattn

SIZE = dict(height=16, width=24)  # not square


def generate(pipe, *args, steps=4, seed=0, **kwargs):
    generator = torch.Generator().manual_seed(seed)
    options = dict(num_inference_steps=steps, generator=generator, output_type="latent")
    return pipe(*args, **{**options, **SIZE, **kwargs}).images


@torch.no_grad()
def encoded(pipe, text):
    """What the stock pipeline makes of a text: its embeddings and pooled embeddings."""
    kind = type(pipe).__name__
    if kind == "StableDiffusionPipeline":
        return pipe.encode_prompt(text, "cpu", 1, False)[0], None
    if kind == "StableDiffusionXLPipeline":
        embeds, _, pooled, _ = pipe.encode_prompt(text, device="cpu", do_classifier_free_guidance=False)
        return embeds, pooled
    if kind == "StableDiffusion3Pipeline":
        embeds, _, pooled, _ = pipe.encode_prompt(text, text, text, do_classifier_free_guidance=False)
        return embeds, pooled
    embeds, pooled, _ = pipe.encode_prompt(text, text)
    return embeds, pooled


def by_callback(pipe, versions, negative=None, **options):
    """The pipeline's own way to change its text: versions are (first step, text); guided where `negative` is a text."""
    names = {
        "StableDiffusionPipeline": ("prompt_embeds", None),
        "StableDiffusionXLPipeline": ("prompt_embeds", "add_text_embeds"),
        "StableDiffusion3Pipeline": ("prompt_embeds", "pooled_prompt_embeds"),
    }[type(pipe).__name__]
    later = dict(versions)

    def whole(text):
        found = encoded(pipe, text)
        if negative is None:
            return found
        against = encoded(pipe, negative)
        return [None if new is None else torch.cat([old, new]) for old, new in zip(against, found, strict=True)]

    def swap(_, step, timestep, kwargs):
        new = whole(later[step + 1]) if step + 1 in later else (None, None)
        return {name: tensor for name, tensor in zip(names, new, strict=True) if tensor is not None}

    return generate(
        pipe,
        later[0],
        negative_prompt=negative,
        callback_on_step_end=swap,
        callback_on_step_end_tensor_inputs=[name for name in names if name],
        **options,
    )


@contextmanager
def by_hook(denoiser, texts):
    """While open, the denoiser reads `texts(call, arguments)` of its call, from 0, in the place of what it is given."""
    calls = iter(range(10_000))

    def hook(module, args, kwargs):
        changed = texts(next(calls), kwargs)
        return None if changed is None else (args, {**kwargs, **changed})

    handle = denoiser.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def words_at(pipe, text):
    """A text as keyword arguments of the pipeline's denoiser."""
    embeds, pooled = encoded(pipe, text)
    found = {"encoder_hidden_states": embeds}
    return found if pooled is None else {**found, "pooled_projections": pooled}


def spliced(pipe, runs, maps=None, **options):
    """Plain runs, one after the other over the same latents: `runs` are (first step, arguments of `attend`).

    Each makes all steps, and has the latents of the one before in the place of its own when its turn comes: exact with
    schedulers that keep nothing from step to step. The maps of each are added to the list `maps`.
    """
    handed = None
    for first, arguments in runs:
        latents = {}

        def note(pipe, step, timestep, kwargs, first=first, handed=handed, latents=latents):
            taken = handed[step] if step + 1 == first else kwargs["latents"]
            latents[step] = taken.clone()
            return {"latents": taken}

        with promptattn.attend(pipe, *arguments[:2], **arguments[2]) as run:
            images = generate(pipe, **run.inputs, **options, callback_on_step_end=note)
        handed = latents
        if maps is not None:
            maps.append(run.maps)
    return images
