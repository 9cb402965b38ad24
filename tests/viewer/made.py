"""The pages that the viewer's tests open: made-up runs, so that every number on a page is known."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from PIL import Image
from synthetic import demo, picture

from promptattn.export.viewer import shown_images

EVIL = "</script><img src=x onerror=alert(1)> {{ 7*7 }} <b>gordo"
FOREIGN = "قطة حمراء 🐱 un ratón señor 東京"
UNBROKEN = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft roja"
FLIPPED = {"red": -0.5}
LONG = "a painting of a red cat chasing a small gray mouse across the green garden near an old stone house at sunset"


@lru_cache
def run():
    """One image of 64 x 96 pixels with steps, heads and a patch recorded."""
    return demo(size=(64, 96), text="un gato rojo persigue a un ratón gris", weights={}, steps=4, heads=3)


@lru_cache
def stronger():
    """The same with the odds of `rojo` doubled everywhere: p' = 2p / (1 + p)."""
    before = run()
    word = next(word for word in before.words if word.text == "rojo")
    columns = [i for i, column in enumerate(before.columns) if column.word == word.index]

    def doubled(mass):
        mass = mass.copy()
        mass[..., columns] *= 2
        return mass / mass.sum(axis=-1, keepdims=True)

    records = tuple(
        replace(each, mass=doubled(each.mass), per_step=doubled(each.per_step), per_head=doubled(each.per_head))
        for each in before.records
    )
    words = tuple(replace(each, weight=2.0) if each == word else each for each in before.words)
    return replace(before, records=records, prompts=(replace(before.prompts[0], words=words),))


@lru_cache
def large():
    """512 pixels, 21 words, twenty steps and eight heads on three layers: more than fits into a page."""
    return demo(size=(512, 512), text=LONG, weights={"red": 1.4, "gray": 0.6}, steps=20, heads=8)


def reseeded():
    """The same words and weights as in `stronger`, said to be of another seed, with less mass for `gris`."""
    word = next(word for word in run().words if word.text == "gris")
    columns = [i for i, column in enumerate(run().columns) if column.word == word.index]

    def halved(mass):
        mass = mass.copy()
        mass[..., columns] /= 2
        return mass

    records = tuple(replace(each, mass=halved(each.mass)) for each in stronger().records)
    return replace(stronger(), records=records, meta={**stronger().meta, "seed": 8})


def switching():
    """A prompt that is one text and then another."""
    maps = demo(text="a red blue cat", steps=4)
    prompt = replace(maps.prompts[0], text="a [red:blue:0.5] cat", versions=((0, 1, 3), (0, 2, 3)))
    return replace(maps, prompts=(prompt,))


def wordless():
    """Nothing but what the text encoder did."""
    return replace(demo(text="a red cat"), records=(), patches=())


def shades():
    """A table between words with every level of the colour scale."""
    text = demo().text_attention[0]
    count = len(text.columns)
    mass = np.linspace(0.001, 1, count * count, dtype=np.float32).reshape(1, count, count)
    return replace(demo(), text_attention=(replace(text, mass=mass),))


def photograph(size):
    """A picture that no PNG makes small."""
    noise = np.random.default_rng(0).normal(0, 18, (*size, 3))
    return Image.fromarray((np.asarray(picture(size), float) + 30 + noise).clip(0, 255).astype(np.uint8))


def changed_picture():
    """The picture of the run with one square of it whiter by 100 of 255."""
    pixels = np.asarray(picture((64, 96))).copy()
    pixels[:16, :24] += 100
    return Image.fromarray(pixels)


def pages():
    """Name -> images and options of each page."""
    pair = [
        *shown_images(run(), picture((64, 96)), name="rojo ×1"),
        *shown_images(stronger(), changed_picture(), name="rojo ×2"),
    ]
    return {
        "one": (shown_images(run(), picture((64, 96))), {}),
        "plain": (shown_images(demo(text="a red cat")), {}),
        "bare": (shown_images(replace(demo(text="a red cat"), patches=(), text_attention=())), {}),
        "pair": (pair, {"opened": "compare"}),
        "apart": (
            [
                *shown_images(run(), picture((64, 96)), name="un gato"),
                *shown_images(demo(text="un perro azul"), picture(), name="un perro"),
            ],
            {"opened": "compare"},
        ),
        "patch": (shown_images(replace(run(), records=()), picture((64, 96))), {}),
        "batch": (
            shown_images(demo(images=3, text="a red cat and a mouse", weights={"red": -0.5}), [picture()] * 3),
            {},
        ),
        "tall": (shown_images(demo(size=(192, 64), steps=4), picture((192, 64))), {}),
        "tall_pair": (shown_images(demo(images=2, size=(192, 64)), [picture((192, 64))] * 2), {"opened": "compare"}),
        "long_pair": (shown_images(demo(images=2, text=LONG), [picture()] * 2), {"opened": "compare"}),
        "switching": (shown_images(switching(), picture()), {}),
        "cut": (shown_images(demo(cut=("gris",)), picture()), {}),
        "wordless": (shown_images(wordless(), picture()), {}),
        "wordless_pair": (shown_images(wordless(), picture()) * 2, {"opened": "compare"}),
        "alike": ([*pair[1:], *shown_images(reseeded(), None, name="again")], {"opened": "compare"}),
        "unbroken": (shown_images(demo(text=UNBROKEN), picture()), {}),
        "shades": (shown_images(shades(), picture()), {}),
        "gray_shades": (shown_images(shades(), picture()), {"colors": "gray"}),
        "evil": (shown_images(demo(text=EVIL), picture()), {}),
        "foreign": (shown_images(demo(text=FOREIGN, weights={"🐱": 1.3}), picture()), {}),
        "large": (shown_images(large(), photograph((512, 512))), {}),
    }
