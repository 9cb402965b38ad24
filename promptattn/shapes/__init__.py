"""The embedded world: coloured shapes, a cat and a mouse, with exact masks and captions in English and Spanish.

>>> import numpy as np
>>> scene = sample_scene(np.random.default_rng(7))
>>> image, masks = render(scene)          # uint8 [64, 64, 3], bool [object, 64, 64]
>>> text = caption(scene, "es")

Importing it needs NumPy and Pillow only; `promptattn.shapes.training` needs torch.
"""

from promptattn.shapes.captions import LANGUAGES, Style, caption
from promptattn.shapes.draw import render
from promptattn.shapes.judge import Seen, Verdict, View, compare, look
from promptattn.shapes.weights import weights_folder
from promptattn.shapes.world import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT,
    RELATIONS,
    SHAPES,
    Scene,
    SceneObject,
    sample_scene,
)

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "HELD_OUT",
    "LANGUAGES",
    "RELATIONS",
    "SHAPES",
    "Scene",
    "SceneObject",
    "Seen",
    "Style",
    "Verdict",
    "View",
    "caption",
    "compare",
    "look",
    "render",
    "sample_scene",
    "weights_folder",
]
