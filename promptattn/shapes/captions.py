"""Scenes to words, in English and Spanish, with agreement; every word knows what it says about which object."""

from dataclasses import dataclass

import numpy as np

from promptattn.shapes.world import Scene, SceneObject

__all__ = ["LANGUAGES", "Piece", "Style", "caption", "compose", "indefinite", "sample_style"]

LANGUAGES = ("en", "es")

NOUNS_ES = {
    "cat": ("gato", "m"),
    "mouse": ("ratón", "m"),
    "star": ("estrella", "f"),
    "circle": ("círculo", "m"),
    "square": ("cuadrado", "m"),
    "triangle": ("triángulo", "m"),
    "heart": ("corazón", "m"),
    "moon": ("luna", "f"),
}

# Masculine and feminine; those that do not inflect are the same twice.
COLOURS_ES = {
    "red": ("rojo", "roja"),
    "orange": ("naranja", "naranja"),
    "yellow": ("amarillo", "amarilla"),
    "green": ("verde", "verde"),
    "blue": ("azul", "azul"),
    "purple": ("morado", "morada"),
    "pink": ("rosa", "rosa"),
    "gray": ("gris", "gris"),
}

BACKGROUNDS_ES = {"black": "negro", "white": "blanco", "beige": "beige"}

# The word that decides the relation is between bars. More than one way to say a thing: the first is the default.
RELATIONS_EN = {
    "left": ("|left| of", "to the |left| of", "on the |left| of"),
    "right": ("|right| of", "to the |right| of", "on the |right| of"),
    "above": ("|above|", "|over|"),
    "below": ("|below|", "|under|"),
    "chases": ("|chasing|", "|chases|"),
    "and": ("|and|",),
}
RELATIONS_ES = {
    "left": ("a la |izquierda| de",),
    "right": ("a la |derecha| de",),
    "above": ("|encima| de", "|arriba| de"),
    "below": ("|debajo| de",),
    "chases": ("|persigue| a", "|persiguiendo| a"),
    "and": ("|y|",),
}


@dataclass(frozen=True)
class Piece:
    """A stretch of a caption, and what it says of which object.

    `role` is "shape", "colour", "relation", "background", or "" where it is only grammar; `index` is -1 without object.
    """

    text: str
    role: str = ""
    index: int = -1


@dataclass(frozen=True)
class Style:
    """What a caption mentions, and which of several phrasings it uses (indices are taken modulo what there is)."""

    background: bool = True
    colours: tuple[bool, bool] = (True, True)
    relation: bool = True
    phrasing: int = 0
    background_phrasing: int = 0


def caption(scene: Scene, language: str = "en", style: Style | None = None) -> str:
    """A lower-case caption of the scene, such as "a red cat left of a blue star on a black background"."""
    return "".join(piece.text for piece in compose(scene, language, style))


def compose(scene: Scene, language: str = "en", style: Style | None = None) -> list[Piece]:
    """The caption in pieces; joined, their texts are the caption. Raises ValueError on an unknown language."""
    if language not in LANGUAGES:
        raise ValueError(f"unknown language {language!r}: choose one of {', '.join(LANGUAGES)}")
    style = style or Style()
    pieces = _object_pieces(scene.objects[0], language, 0, style.colours[0])
    if len(scene.objects) == 2:
        relations = RELATIONS_EN if language == "en" else RELATIONS_ES
        ways = relations[(scene.relation or "and") if style.relation else "and"]
        before, word, after = ways[style.phrasing % len(ways)].split("|")
        pieces += [Piece(" " + before), Piece(word, "relation"), Piece(after + " ")]
        pieces += _object_pieces(scene.objects[1], language, 1, style.colours[1])
    if style.background:
        pieces += _background_pieces(scene.background, language, style.background_phrasing)
    return pieces


def sample_style(rng: np.random.Generator) -> Style:
    """A style as training sees it: mostly everything is said, at times background, a colour or the relation is not."""
    return Style(
        background=bool(rng.random() < 0.7),
        colours=(bool(rng.random() < 0.94), bool(rng.random() < 0.94)),
        relation=bool(rng.random() < 0.94),
        phrasing=int(rng.integers(6)),
        background_phrasing=int(rng.integers(2)),
    )


def indefinite(thing: SceneObject, language: str = "en", colour: bool = True) -> str:
    """The object with its article: "an orange cat", "una estrella azul"."""
    return "".join(piece.text for piece in _object_pieces(thing, language, 0, colour))


def _object_pieces(thing: SceneObject, language: str, index: int, colour: bool) -> list[Piece]:
    if language == "es":
        noun, gender = NOUNS_ES[thing.shape]
        pieces = [Piece("un " if gender == "m" else "una "), Piece(noun, "shape", index)]
        inflected = COLOURS_ES[thing.colour][gender == "f"]
        return [*pieces, Piece(" "), Piece(inflected, "colour", index)] if colour else pieces
    words = [Piece(thing.colour, "colour", index), Piece(" ")] if colour else []
    words.append(Piece(thing.shape, "shape", index))
    return [Piece("an " if words[0].text[0] in "aeiou" else "a "), *words]


def _background_pieces(background: str, language: str, phrasing: int) -> list[Piece]:
    if language == "es":
        start = (" sobre un fondo ", " sobre fondo ")[phrasing % 2]
        return [Piece(start), Piece(BACKGROUNDS_ES[background], "background")]
    return [Piece(" on a "), Piece(background, "background"), Piece(" background")]
