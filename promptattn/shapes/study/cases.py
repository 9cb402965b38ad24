"""What the study paints: prompts with a word to weigh, one for each case, and the seed of its image.

Cases come from the shapes world, where it is known what belongs where, or from a file of prompts with marked words:

    a {red} cat next to a {blue} dog

The first mark is the word or phrase that is weighted; a second one is watched as another object's.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from promptattn.errors import ConfigError
from promptattn.shapes.captions import LANGUAGES, compose
from promptattn.shapes.world import Scene, sample_scene

__all__ = ["Case", "Mark", "prompt_cases", "scene_cases"]

_ROLES = {"noun": "shape", "colour": "colour"}
_MARK = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Mark:
    """A stretch of a case's text: `text[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True)
class Case:
    """One prompt without weights, the seed of its image, and which words are its own and the other object's.

    `own` and `other` give a mark for each target; `other` may lack it. In the shapes world `scene` says what the prompt
    describes, and `subject` which of its two objects is the own one; `company` marks all words but the own object's.
    """

    index: int
    seed: int
    language: str
    text: str
    own: Mapping[str, Mark]
    other: Mapping[str, Mark] = field(default_factory=dict)
    scene: Scene | None = None
    subject: int = 0
    company: tuple[Mark, ...] = ()

    def prompt(self, target: str, weight: float) -> str:
        """The prompt with `weight` on the target's own word, in A1111's syntax.

        The target `one` is the other object's colour, and `all` is every word of `company`, each in its own brackets.
        """
        text = self.text
        for mark in reversed(self._marks(target)):
            text = f"{text[: mark.start]}({text[mark.start : mark.end]}:{weight!r}){text[mark.end :]}"
        return text

    def _marks(self, target: str) -> tuple[Mark, ...]:
        if target == "all":
            return self.company
        return (self.other["colour"] if target == "one" else self.own[target],)

    def word(self, mark: Mark) -> tuple[str, int]:
        """A marked word and its occurrence in the text, counted from 0, as `maps[...]` takes it."""
        phrase = self.text[mark.start : mark.end]
        before = re.findall(rf"(?<!\w){re.escape(phrase)}(?!\w)", self.text[: mark.start], re.IGNORECASE)
        return phrase, len(before)


def scene_cases(count: int, seed: int = 0) -> list[Case]:
    """Two-object scenes with their captions: languages alternate, and every two cases the own object does.

    The first n cases are the same whatever the count. Colour and shape may be a pair that training never showed.
    """
    rng = np.random.default_rng([1962, seed])
    cases: list[Case] = []
    while len(cases) < count:
        scene = sample_scene(rng, "any")
        if len(scene.objects) == 2:
            cases.append(_scene_case(scene, len(cases), 100_000 * (seed + 1) + len(cases)))
    return cases


def _scene_case(scene: Scene, index: int, seed: int) -> Case:
    language, subject = LANGUAGES[index % 2], index // 2 % 2
    text, marks = "", {}
    for piece in compose(scene, language):
        marks[piece.role, piece.index] = Mark(len(text), len(text) + len(piece.text))
        text += piece.text
    own, other = ({target: marks[role, thing] for target, role in _ROLES.items()} for thing in (subject, 1 - subject))
    words = (Mark(*word.span()) for word in re.finditer(r"\S+", text))
    company = tuple(word for word in words if word not in own.values())
    return Case(index, seed, language, text, own, other, scene, subject, company)


def prompt_cases(lines: Iterable[str], seeds: int = 1, seed: int = 0) -> list[Case]:
    """One case for each marked line and seed; empty lines and lines that start with # are left out.

    Raises:
        ConfigError: for a line without a mark, with more than two, or with an empty one; says which.
    """
    cases: list[Case] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        text, marks = _unmarked(line.strip(), number)
        own = {"word": marks[0]}
        other = {"word": marks[1]} if len(marks) == 2 else {}
        for _ in range(seeds):
            cases.append(Case(len(cases), 100_000 * (seed + 1) + len(cases), "", text, own, other))
    if not cases:
        raise ConfigError("there is no prompt to study: every line is empty or a comment.")
    return cases


def _unmarked(line: str, number: int) -> tuple[str, list[Mark]]:
    text, marks, read = "", [], 0
    for match in _MARK.finditer(line):
        text += line[read : match.start()]
        marks.append(Mark(len(text), len(text) + len(match[1])))
        text += match[1]
        read = match.end()
    text += line[read:]
    if not 1 <= len(marks) <= 2 or not all(text[mark.start : mark.end].strip() for mark in marks):
        raise ConfigError(
            f"line {number}, {line!r}, must mark one word or phrase to weigh, and may mark a second to watch,"
            ' such as "a {red} cat next to a {blue} dog".'
        )
    return text, marks
