"""The maps of one picture by layer, step and head, with the masks of what the picture shows; kept on disk."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptattn.maps import HeatMaps
from promptattn.shapes.evaluation.cases import (
    Case,
    absent_prompt,
    absent_words,
    object_words,
)
from promptattn.shapes.judge import Verdict, compare, look

__all__ = ["LayerRecord", "Recording", "Word", "record", "record_absent"]

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Word:
    """One word whose maps were recorded.

    Attributes:
        role: "shape" or "colour".
        text, occurrence: how it stands in the prompt, occurrences counted from 0; thing: the object it is said of.
        own: the mask of its object in the picture; other: of the other object, if there is one.
        seen: whether the judge sees the word's own claim (this colour, this shape) in that object.
        present: False for a word that is not in the scene; its `own` mask is then just that of an object.
    """

    role: str
    text: str
    occurrence: int
    thing: int
    own: Mask
    other: Mask | None = None
    seen: bool = True
    present: bool = True


@dataclass(frozen=True, eq=False)
class LayerRecord:
    """One attention layer: maps of the words, `[step, word, height, width]` and `[head, word, height, width]`.

    Attributes:
        mass: `[height, width, column]`, every column of the prompt, mean over steps and heads.
    """

    steps: Floats
    heads: Floats
    mass: Floats

    @property
    def grid(self) -> tuple[int, int]:
        return self.steps.shape[-2], self.steps.shape[-1]


@dataclass(frozen=True, eq=False)
class Recording:
    """One picture, uint8 `[height, width, 3]`, its words, and what each layer recorded.

    Attributes:
        half, language: of its case.
        peer: maps of the words by other packages, `[word, height, width]` at the image's resolution, by their name.
        different: the largest difference (0 to 255) between the image and the one that a peer painted.
    """

    image: Image
    words: tuple[Word, ...]
    layers: Mapping[str, LayerRecord]
    half: int = 0
    language: str = "en"
    peer: dict[str, Floats] = field(default_factory=dict)
    different: dict[str, int] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        arrays: dict[str, NDArray[Any]] = {"image": self.image}
        for name, layer in self.layers.items():
            arrays |= {f"{name}/steps": layer.steps, f"{name}/heads": layer.heads, f"{name}/mass": layer.mass}
        for index, word in enumerate(self.words):
            arrays[f"own/{index}"] = word.own
            if word.other is not None:
                arrays[f"other/{index}"] = word.other
        words = [[w.role, w.text, w.occurrence, w.thing, w.seen, w.present] for w in self.words]
        arrays |= {f"peer/{name}": maps for name, maps in self.peer.items()}
        meta = {"words": words, "layers": list(self.layers), "half": self.half, "language": self.language}
        meta["different"] = self.different
        arrays["meta"] = np.array(json.dumps(meta))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **arrays)  # type: ignore[arg-type]
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Recording":
        with np.load(path, allow_pickle=False) as arrays:
            meta = json.loads(str(arrays["meta"]))
            layers = {
                name: LayerRecord(arrays[f"{name}/steps"], arrays[f"{name}/heads"], arrays[f"{name}/mass"])
                for name in meta["layers"]
            }
            words = tuple(
                Word(role, text, occurrence, thing, arrays[f"own/{i}"], arrays.get(f"other/{i}"), seen, present)
                for i, (role, text, occurrence, thing, seen, present) in enumerate(meta["words"])
            )
            peer = {name.removeprefix("peer/"): arrays[name] for name in arrays.files if name.startswith("peer/")}
            return cls(arrays["image"], words, layers, meta["half"], meta["language"], peer, meta["different"])


def record(pipe: Any, cases: Sequence[Case], options: Mapping[str, Any], layers: str | None = None) -> list[Recording]:
    """Paint cases in one batch and keep the maps of nouns and colours of objects that the judge finds in their colour.

    Each image has a generator of its own, so it does not matter which cases share a batch.
    """
    painted = _paint(pipe, [case.prompt for case in cases], cases, options, layers)
    return [_record(case, image, maps) for case, (image, maps) in zip(cases, painted, strict=True)]


def record_absent(
    pipe: Any, cases: Sequence[Case], options: Mapping[str, Any], layers: str | None = None
) -> list[Recording]:
    """Maps of a noun and a colour that are not in the scene, against every object that is.

    They stand after the caption with odds of `ABSENT_WEIGHT`: by the definition of a weight their columns are then that
    many times what an unweighted word's would be, while they have next to no influence on the image. Where the judge
    finds one of them in the picture all the same, it is left out. The words of the caption are recorded beside them.
    """
    prompts = [absent_prompt(case) for case in cases]
    painted = _paint(pipe, prompts, cases, options, layers, strength="exact", where="denoiser")
    return [_record_absent(case, image, maps) for case, (image, maps) in zip(cases, painted, strict=True)]


def _paint(
    pipe: Any,
    prompts: list[str],
    cases: Sequence[Case],
    options: Mapping[str, Any],
    layers: str | None,
    **weighting: Any,
) -> list[tuple[Image, HeatMaps]]:
    import torch

    import promptattn

    capture = promptattn.Capture(relations="image->text", layers=layers, per_step=True, per_head=True)
    with promptattn.attend(pipe, prompts, capture=capture, **weighting) as run:
        generators = [torch.Generator().manual_seed(case.seed) for case in cases]
        images = pipe(**run.inputs, generator=generators, **options).images
    return [(np.asarray(image.convert("RGB")), maps) for image, maps in zip(images, run.maps.images, strict=True)]


def _record(case: Case, image: Image, maps: HeatMaps) -> Recording:
    words = _caption_words(case, compare(case.scene, look(image)))
    return Recording(image, words, _layers(maps, words), case.half, case.language)


def _record_absent(case: Case, image: Image, maps: HeatMaps) -> Recording:
    view = look(image)
    verdict = compare(case.scene, view)
    absent = [
        Word(role, text, 0, index, own, other, seen=False, present=False)
        for role, (name, text) in absent_words(case).items()
        if name not in {getattr(seen, role) for seen in view.objects}
        for index, (own, other) in enumerate(_masks(verdict, case))
        if own is not None
    ]
    words = _caption_words(case, verdict) + tuple(absent)
    return Recording(image, words, _layers(maps, words), case.half, case.language)


def _caption_words(case: Case, verdict: Verdict) -> tuple[Word, ...]:
    """The nouns and colours of the caption whose object was found."""
    masks = _masks(verdict, case)
    words = []
    for (role, index), (text, occurrence) in object_words(case).items():
        own, other = masks[index]
        if own is not None:
            right = getattr(verdict.found[index], role) == getattr(case.scene.objects[index], role)
            words.append(Word(role, text, occurrence, index, own, other, right))
    return tuple(words)


def _masks(verdict: Verdict, case: Case) -> list[tuple[Mask | None, Mask | None]]:
    """For each object its mask and the other object's; None for those that the judge does not see in their colour."""
    masks = [
        seen.mask if seen is not None and seen.colour == thing.colour else None
        for seen, thing in zip(verdict.found, case.scene.objects, strict=True)
    ]
    return [(mask, masks[1 - index] if len(masks) == 2 else None) for index, mask in enumerate(masks)]


def _layers(maps: HeatMaps, words: Sequence[Word]) -> dict[str, LayerRecord]:
    found = {}
    for name in maps.layers:
        one = maps.layer(name)
        steps = [one.step(number) for number in one.records[0].step_numbers]
        heads = [one.head(number) for number in one.records[0].head_numbers]
        found[name] = LayerRecord(
            np.stack([_of_words(part, name, words) for part in steps]),
            np.stack([_of_words(part, name, words) for part in heads]),
            one.records[0].mass[0],
        )
    return found


def _of_words(maps: HeatMaps, name: str, words: Sequence[Word]) -> Floats:
    height, width = maps.records[0].grid
    parts = [maps[word.text, word.occurrence].at_layer(name) for word in words]
    return np.stack(parts) if parts else np.zeros((0, height, width), np.float32)
