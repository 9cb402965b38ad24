"""What is painted for an evaluation: scenes that training did not see, each with a caption, a language and a seed."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from promptattn.shapes.captions import COLOURS_ES, NOUNS_ES, caption, compose
from promptattn.shapes.world import COLOURS, SHAPES, Scene, sample_scene

__all__ = ["ABSENT_WEIGHT", "Case", "Key", "absent_prompt", "absent_words", "make_cases", "object_words"]

Key = tuple[str, int]
"""(role, object): "shape" or "colour", and which of the scene's objects it is said of."""

ABSENT_WEIGHT = 1e-9
"""The odds at which a word that is not in the scene stands in its prompt: enough to be read off, too little to act.
So small because some heads of small models have logits that are tens apart."""


@dataclass(frozen=True)
class Case:
    """One prompt and the seed of its image."""

    scene: Scene
    language: str
    split: str
    seed: int
    half: int
    """0 or 1: what is chosen on one half of the cases is tested on the other."""

    @property
    def prompt(self) -> str:
        return caption(self.scene, self.language)


def make_cases(count: int, seed: int) -> list[Case]:
    """Two-object and one-object scenes; languages, splits and halves in equal shares and independent of each other."""
    rng = np.random.default_rng([2024, seed])
    cases = []
    for index in range(count):
        split = ("train", "held_out")[index // 2 % 2]
        scene = sample_scene(rng, split)
        cases.append(Case(scene, ("en", "es")[index % 2], split, seed * 100_000 + index, index // 4 % 2))
    return cases


def object_words(case: Case) -> dict[Key, tuple[str, int]]:
    """(role, object) -> (word, occurrence counted from 0) for every colour and noun of the caption."""
    seen: dict[str, int] = defaultdict(int)
    words = {}
    for piece in compose(case.scene, case.language):
        if piece.index >= 0:
            words[piece.role, piece.index] = (piece.text, seen[piece.text])
        for word in piece.text.split():
            seen[word] += 1
    return words


def absent_words(case: Case) -> dict[str, tuple[str, str]]:
    """Role -> (name in the world, word in the caption's language) of a noun and a colour that the scene has not."""
    rng = np.random.default_rng([77, case.seed])
    shape = _other(rng, SHAPES, {thing.shape for thing in case.scene.objects})
    colour = _other(rng, tuple(COLOURS), {thing.colour for thing in case.scene.objects})
    if case.language == "en":
        return {"shape": (shape, shape), "colour": (colour, colour)}
    noun, gender = NOUNS_ES[shape]
    return {"shape": (shape, noun), "colour": (colour, COLOURS_ES[colour][gender == "f"])}


def absent_prompt(case: Case) -> str:
    """The caption, followed by the absent noun and colour at `ABSENT_WEIGHT`."""
    words = absent_words(case)
    noun, colour = words["shape"][1], words["colour"][1]
    phrase = f"{colour} {noun}" if case.language == "en" else f"{noun} {colour}"
    return f"{case.prompt} ({phrase}:{ABSENT_WEIGHT:.9f})"


def _other(rng: np.random.Generator, names: tuple[str, ...], taken: set[str]) -> str:
    free = [name for name in names if name not in taken]
    return free[int(rng.integers(len(free)))]
