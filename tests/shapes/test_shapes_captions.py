"""Captions in English and Spanish: agreement, phrasings, and what each word is about."""

import numpy as np
import pytest

from promptattn.shapes import COLOURS, SHAPES, Scene, SceneObject, Style, caption, sample_scene
from promptattn.shapes.captions import COLOURS_ES, NOUNS_ES, compose, indefinite, sample_style

RED_CAT = SceneObject("cat", "red", 16, 32, 24)
GRAY_MOUSE = SceneObject("mouse", "gray", 48, 32, 24)
CHASE = Scene((RED_CAT, GRAY_MOUSE), "white", "chases")
PLAIN = Style(background=False)

AGREEMENT = [
    ("red", "cat", "a red cat", "un gato rojo"),
    ("gray", "mouse", "a gray mouse", "un ratón gris"),
    ("blue", "star", "a blue star", "una estrella azul"),
    ("gray", "star", "a gray star", "una estrella gris"),
    ("green", "star", "a green star", "una estrella verde"),
    ("yellow", "star", "a yellow star", "una estrella amarilla"),
    ("red", "moon", "a red moon", "una luna roja"),
    ("purple", "moon", "a purple moon", "una luna morada"),
    ("pink", "moon", "a pink moon", "una luna rosa"),
    ("orange", "moon", "an orange moon", "una luna naranja"),
    ("orange", "cat", "an orange cat", "un gato naranja"),
    ("pink", "heart", "a pink heart", "un corazón rosa"),
    ("purple", "triangle", "a purple triangle", "un triángulo morado"),
    ("yellow", "circle", "a yellow circle", "un círculo amarillo"),
    ("red", "square", "a red square", "un cuadrado rojo"),
]


@pytest.mark.parametrize(("colour", "shape", "english", "spanish"), AGREEMENT)
def test_articles_and_adjectives_agree(colour: str, shape: str, english: str, spanish: str) -> None:
    thing = SceneObject(shape, colour, 32, 32, 24)
    assert indefinite(thing, "en") == english
    assert indefinite(thing, "es") == spanish


def test_every_shape_and_colour_has_spanish_words() -> None:
    assert set(NOUNS_ES) == set(SHAPES)
    assert set(COLOURS_ES) == set(COLOURS)


def test_the_chase_is_said_as_people_say_it() -> None:
    assert caption(CHASE, "en", PLAIN) == "a red cat chasing a gray mouse"
    assert caption(CHASE, "en", Style(background=False, phrasing=1)) == "a red cat chases a gray mouse"
    assert caption(CHASE, "es", PLAIN) == "un gato rojo persigue a un ratón gris"


@pytest.mark.parametrize(
    ("relation", "english", "spanish"),
    [
        ("left", "a red cat left of a gray mouse", "un gato rojo a la izquierda de un ratón gris"),
        ("right", "a red cat right of a gray mouse", "un gato rojo a la derecha de un ratón gris"),
        ("above", "a red cat above a gray mouse", "un gato rojo encima de un ratón gris"),
        ("below", "a red cat below a gray mouse", "un gato rojo debajo de un ratón gris"),
    ],
)
def test_relations_and_backgrounds(relation: str, english: str, spanish: str) -> None:
    scene = Scene((RED_CAT, GRAY_MOUSE), "black", relation)
    assert caption(scene) == english + " on a black background"
    assert caption(scene, "es") == spanish + " sobre un fondo negro"


def test_what_a_style_leaves_out() -> None:
    assert caption(CHASE, "en", Style(background=False, colours=(False, True))) == "a cat chasing a gray mouse"
    assert caption(CHASE, "es", Style(background=False, colours=(True, False))) == "un gato rojo persigue a un ratón"
    assert caption(CHASE, "en", Style(background=False, relation=False)) == "a red cat and a gray mouse"
    assert caption(Scene((RED_CAT,), "beige"), "es") == "un gato rojo sobre un fondo beige"


def test_pieces_join_to_the_caption_and_name_their_object() -> None:
    rng = np.random.default_rng(5)
    for index in range(300):
        scene, style = sample_scene(rng), sample_style(rng)
        language = ("en", "es")[index % 2]
        pieces = compose(scene, language, style)
        text = "".join(piece.text for piece in pieces)
        assert text == caption(scene, language, style) == text.lower().strip()
        assert "  " not in text
        nouns = [piece for piece in pieces if piece.role == "shape"]
        assert [piece.index for piece in nouns] == list(range(len(scene.objects)))
        for piece in nouns:
            shape = scene.objects[piece.index].shape
            assert piece.text == (shape if language == "en" else NOUNS_ES[shape][0])


def test_an_unknown_language_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown language 'fr'.*en, es"):
        caption(CHASE, "fr")
