import diffusers
import pytest
import tiny_pipelines as tiny
import torch

import promptattn

LENGTH = 24  # rows of T5
SIZE = dict(height=32, width=24)


@pytest.fixture(scope="session")
def pipes():
    """Pipelines that no test leaves changed, made when they are asked for."""
    made = {}

    def pipe(kind):
        if kind not in made:
            made[kind] = (tiny.PIPELINES | tiny.JOINT_PIPELINES)[kind]()
        return made[kind]

    return pipe


@pytest.fixture(scope="session")
def make():
    """The run and the latents of a prompt: `make(pipe, prompt, capture, steps=3)`."""

    def call(pipe, prompt, capture, *, steps=3, seed=0, before=None, attend=None, **options):
        joint = not isinstance(pipe, diffusers.StableDiffusionPipeline | diffusers.StableDiffusionXLPipeline)
        length = {"max_sequence_length": LENGTH} if joint else {}
        with promptattn.attend(pipe, prompt, capture=capture, **length, **(attend or {})) as run:
            if before is not None:
                before(run)
            images = pipe(
                **run.inputs,
                **length,
                num_inference_steps=steps,
                generator=torch.Generator().manual_seed(seed),
                output_type="latent",
                **(SIZE | options),
            ).images
        return run, images

    return call
