"""Questions of meaning, asked of the trained pipeline that ships: do maps and weights say something true?"""

import numpy as np
import pytest

import promptattn
from promptattn.maps.metrics import average_precision, leakage, pointing_hit
from promptattn.shapes import look

PROMPTS = [
    ("a red cat left of a blue star on a black background", ("cat", "red"), ("star", "blue")),
    ("a yellow circle above a green square on a white background", ("circle", "yellow"), ("square", "green")),
    ("un gato rojo a la izquierda de un círculo azul", ("gato", "red"), ("círculo", "blue")),
    ("a purple star right of an orange square", ("star", "purple"), ("square", "orange")),
]
SPANISH = {
    "red": "rojo",
    "blue": "azul",
    "yellow": "amarillo",
    "green": "verde",
    "purple": "morado",
    "orange": "naranja",
}


@pytest.fixture(scope="module")
def pipe():
    return promptattn.load("shapes")


def generate(pipe, prompts, **options):
    return promptattn.generate(pipe, prompts, seed=11, num_inference_steps=20, **options)


def area(image, colour):
    """Pixels of objects of this colour."""
    return sum(int(seen.mask.sum()) for seen in look(np.asarray(image)).objects if seen.colour == colour)


@pytest.fixture(scope="module")
def plain(pipe):
    return generate(pipe, [prompt for prompt, _, _ in PROMPTS])


def test_it_is_an_ordinary_pipeline(pipe):
    assert type(pipe).__module__.startswith("diffusers.")
    assert pipe.tokenizer.model_max_length == 24
    assert pipe("a red cat", num_inference_steps=2).images[0].size == (64, 64)


def test_both_colours_of_a_prompt_are_seen(plain):
    seen = [
        area(image, colour) > 40
        for image, (_, *things) in zip(plain.images, PROMPTS, strict=True)
        for _, colour in things
    ]
    assert np.mean(seen) >= 0.75


def test_maps_of_words_lie_on_their_objects(plain):
    """In the finest layers on the way up, where words ground best; both kinds of words against the other object."""
    colours, nouns = [], []
    for index, (prompt, *things) in enumerate(PROMPTS):
        maps = plain.maps.image(index).layer("up_blocks.1.*")
        masks = {seen.colour: seen.mask for seen in look(np.asarray(plain.images[index])).objects}
        for (noun, colour), (_, other) in (things, things[::-1]):
            if colour in masks and other in masks:
                word = next(word for word in (colour, SPANISH[colour]) if word in prompt)
                colours.append((maps[word].array, masks[colour], masks[other]))
                nouns.append((maps[noun].array, masks[colour], masks[other]))
    assert len(colours) >= 4
    assert np.mean([pointing_hit(heat, own) for heat, own, _ in colours]) >= 0.75
    assert np.mean([leakage(heat, own, other) for heat, own, other in colours]) < 0.35
    own = np.mean([average_precision(heat, own) for heat, own, _ in nouns])
    control = np.mean([average_precision(heat, other) for heat, _, other in nouns])
    assert own > 2 * control


@pytest.mark.parametrize("weight", ["0", "1.4"])
def test_a_weight_acts_visibly_in_the_direction_it_says(pipe, plain, weight):
    weighted = generate(pipe, [prompt.replace(*_first(prompt, weight)) for prompt, _, _ in PROMPTS], capture=False)
    before = sum(area(image, colour) for image, (_, (_, colour), _) in zip(plain.images, PROMPTS, strict=True))
    after = sum(area(image, colour) for image, (_, (_, colour), _) in zip(weighted.images, PROMPTS, strict=True))
    if weight == "0":
        assert after < 0.5 * before
    else:
        assert after > before


def _first(prompt, weight):
    """The first object's colour word, and the same with a weight."""
    word = next(word for word in ("red", "yellow", "rojo", "purple") if word in prompt)
    return word, f"({word}:{weight})"
