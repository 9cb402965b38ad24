"""The DiT that ships: a stock pipeline, small, and it draws what it is told."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from promptattn.shapes import Scene, SceneObject, caption, compare, look, weights_folder
from promptattn.shapes.training.dit import ZERO_ROWS, TextPair
from promptattn.shapes.training.text import WINDOW

MEGABYTES = 12
SCENES = [
    (Scene((SceneObject("circle", "red", 32, 32, 26),), "white"), "en"),
    (Scene((SceneObject("moon", "yellow", 32, 32, 26),), "black"), "es"),
    (
        Scene(
            (SceneObject("heart", "purple", 16, 32, 22), SceneObject("square", "green", 48, 32, 22)), "beige", "left"
        ),
        "en",
    ),
    (
        Scene(
            (SceneObject("star", "blue", 32, 16, 22), SceneObject("triangle", "orange", 32, 48, 22)), "white", "above"
        ),
        "es",
    ),
]


@pytest.fixture(scope="module")
def pipe() -> StableDiffusion3Pipeline:
    # As diffusers' documentation says to load an SD3 without T5.
    without_t5 = {"text_encoder_3": None, "tokenizer_3": None}
    loaded = StableDiffusion3Pipeline.from_pretrained(weights_folder("dit"), dtype=torch.float32, **without_t5)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_it_is_small() -> None:
    files = [file for file in weights_folder("dit").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= MEGABYTES * 1_000_000


def test_every_cell_of_the_latents_is_an_image_row(pipe) -> None:
    config = pipe.transformer.config
    assert config.patch_size == 1
    assert config.sample_size == pipe.transformer.pos_embed.pos_embed_max_size == 16


def test_its_text_is_what_it_was_trained_on(pipe) -> None:
    prompts = ["a red cat chasing a gray mouse on a white background", "una estrella azul", ""]
    ids = pipe.tokenizer(prompts, padding="max_length", max_length=WINDOW, return_tensors="pt").input_ids
    with torch.no_grad():
        text, _, pooled, _ = pipe.encode_prompt(prompts, None, None, do_classifier_free_guidance=False)
        mine, mine_pooled = TextPair(pipe.text_encoder, pipe.text_encoder_2)(ids, ZERO_ROWS)
    assert torch.equal(mine, text)
    assert torch.equal(mine_pooled, pooled)


def test_it_draws_what_it_is_told(pipe) -> None:
    prompts = [caption(scene, language) for scene, language in SCENES]
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(prompts))]
    images = pipe(prompts, generator=generators, num_inference_steps=10, guidance_scale=2.0).images
    verdicts = [compare(scene, look(np.asarray(image))) for (scene, _), image in zip(SCENES, images, strict=True)]
    for prompt, verdict in zip(prompts, verdicts, strict=True):
        assert all((verdict.count, verdict.colour, verdict.background, verdict.relation)), prompt
    assert sum(verdict.shape for verdict in verdicts) >= 3
