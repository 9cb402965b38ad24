"""Judge a shapes pipeline from its pixels and its word maps, over held-out prompts at fixed seeds.

    python scripts/evaluate_shapes.py                        # the pipeline that ships, 240 prompts, pictures and maps
    python scripts/evaluate_shapes.py --no-maps --limit 48   # pictures only, in batches

Half of the prompts are new scenes of the kind seen in training, half have a colour x shape pair that training never
showed. Colours, shapes, relation and background are read off the image by `promptattn.shapes.look`; the mask of each
object is the one found in the generated image. Two controls: each map against the mask of a word of another prompt
("shuffled"), and against the other object of its own picture ("other object").
"""

import json
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from diffusers import StableDiffusionPipeline

from promptattn.maps.metrics import average_precision, best_iou, iou, leakage, pointing_hit
from promptattn.shapes import Scene, Verdict, caption, compare, look, sample_scene, weights_folder
from promptattn.shapes.captions import compose

CLAIMS = ("count", "colour", "shape", "relation", "background")
BATCH = 24


@dataclass(frozen=True)
class Case:
    """One prompt and the seed of its image."""

    scene: Scene
    language: str
    split: str
    seed: int

    @property
    def prompt(self) -> str:
        return caption(self.scene, self.language)


def make_cases(count: int, seed: int) -> list[Case]:
    """Two-object and one-object scenes, languages alternating, splits half and half."""
    rng = np.random.default_rng([2024, seed])
    cases = []
    for index in range(count):
        split = ("train", "held_out")[index // 2 % 2]
        cases.append(Case(sample_scene(rng, split), ("en", "es")[index % 2], split, seed * 100_000 + index))
    return cases


def paint(pipe: StableDiffusionPipeline, cases: list[Case], options: dict[str, Any]) -> list[np.ndarray]:
    """Images uint8 [height, width, 3], in batches; each has a generator of its own, so batches change nothing."""
    images = []
    for first in range(0, len(cases), BATCH):
        part = cases[first : first + BATCH]
        generators = [torch.Generator().manual_seed(case.seed) for case in part]
        result = pipe([case.prompt for case in part], generator=generators, **options)
        images += [np.asarray(image.convert("RGB")) for image in result.images]
    return images


def paint_with_maps(
    pipe: StableDiffusionPipeline, case: Case, options: dict[str, Any], layers: str | None
) -> tuple[np.ndarray, dict[tuple[str, int], np.ndarray]]:
    """One image and the map of each colour and noun, by (role, object)."""
    import promptattn

    words = object_words(case)
    with promptattn.attend(pipe, case.prompt, capture=promptattn.Capture(layers=layers)) as run:
        generator = torch.Generator().manual_seed(case.seed)
        result = pipe(**run.inputs, generator=generator, **options)
    maps = {key: np.asarray(run.maps[word].array, np.float64) for key, word in words.items()}
    return np.asarray(result.images[0].convert("RGB")), maps


def object_words(case: Case) -> dict[tuple[str, int], tuple[str, int]]:
    """(role, object) -> (word, occurrence counted from 0) for every colour and noun of the caption."""
    seen: dict[str, int] = defaultdict(int)
    words = {}
    for piece in compose(case.scene, case.language):
        if piece.index >= 0:
            words[piece.role, piece.index] = (piece.text, seen[piece.text])
        for word in piece.text.split():
            seen[word] += 1
    return words


def score_maps(verdict: Verdict, maps: dict[tuple[str, int], np.ndarray]) -> list[dict[str, Any]]:
    """One row per word of an object that was found: its map, its own mask and, with two objects, the other's."""
    rows = []
    for (role, index), heat in maps.items():
        own = verdict.found[index]
        other = verdict.found[1 - index] if len(verdict.found) == 2 else None
        if own is not None:
            rows.append({"role": role, "heat": heat, "own": own.mask, "other": None if other is None else other.mask})
    return rows


def agreement(heat: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    return {
        "iou": iou(heat, mask),
        "best_iou": best_iou(heat, mask),
        "ap": average_precision(heat, mask),
        "pointing": pointing_hit(heat, mask),
    }


def picture_table(cases: list[Case], verdicts: list[Verdict]) -> dict[str, dict[str, float]]:
    """Percentages by group; "relation" over scenes with two objects only."""
    groups = {
        "all": [True] * len(cases),
        "trained pairs": [case.split == "train" for case in cases],
        "held-out pairs": [case.split == "held_out" for case in cases],
        "one object": [case.scene.relation is None for case in cases],
        "two objects": [case.scene.relation is not None for case in cases],
        "chases": [case.scene.relation == "chases" for case in cases],
        "English": [case.language == "en" for case in cases],
        "Spanish": [case.language == "es" for case in cases],
    }
    table = {}
    for name, members in groups.items():
        rows = [(case, verdict) for case, verdict, member in zip(cases, verdicts, members, strict=True) if member]
        pairs = [verdict.relation for case, verdict in rows if case.scene.relation is not None]
        table[name] = {"n": float(len(rows))}
        for claim in CLAIMS:
            values = pairs if claim == "relation" else [getattr(verdict, claim) for _, verdict in rows]
            table[name][claim] = percent(values)
        table[name]["everything"] = percent([all(getattr(verdict, claim) for claim in CLAIMS) for _, verdict in rows])
    return table


def map_table(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Means by role over every scored word, and its two controls."""
    table = {}
    for role, name in (("shape", "noun"), ("colour", "colour")):
        mine = [row for row in rows if row["role"] == role]
        paired = [row for row in mine if row["other"] is not None]
        table[name] = means([agreement(row["heat"], row["own"]) for row in mine])
        table[name]["leakage"] = mean([leakage(row["heat"], row["own"], row["other"]) for row in paired])
        # Half way round the list: another prompt's mask for every word.
        others = [row["own"] for row in mine[len(mine) // 2 :] + mine[: len(mine) // 2]]
        shuffled = [agreement(row["heat"], mask) for row, mask in zip(mine, others, strict=True)]
        table[f"{name}, shuffled"] = means(shuffled)
        table[f"{name}, other object"] = means([agreement(row["heat"], row["other"]) for row in paired])
    return table


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {"n": float(len(rows))} | {
        metric: mean([row[metric] for row in rows]) for metric in (rows[0] if rows else {})
    }


def mean(values: list[float]) -> float:
    return round(float(np.nanmean(values)), 4) if values else float("nan")


def percent(values: list[bool]) -> float:
    return round(100 * float(np.mean(values)), 1) if values else float("nan")


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    typer.echo(f"\n{title:24}" + "".join(f"{column:>12}" for column in columns))
    for name, row in table.items():
        typer.echo(f"{name:24}" + "".join(f"{row.get(column, float('nan')):12g}" for column in columns))


def main(
    model: Annotated[Path | None, typer.Option(help="Pipeline folder [the one that ships].")] = None,
    limit: Annotated[int, typer.Option(help="Number of prompts.", min=1)] = 240,
    steps: Annotated[int, typer.Option(min=1)] = 25,
    guidance: Annotated[float, typer.Option()] = 4.0,
    seed: Annotated[int, typer.Option(help="Chooses prompts and images.", min=0)] = 0,
    maps: Annotated[bool, typer.Option(help="Score the word maps too, one image at a time.")] = True,
    layers: Annotated[
        str | None, typer.Option(help="Record these attention layers only, such as 'up_blocks.1.*'.")
    ] = None,
    out: Annotated[Path, typer.Option(help="JSON report.")] = Path("results/shapes.json"),
    sheet: Annotated[Path | None, typer.Option(help="Also write the images as one picture.")] = None,
) -> None:
    """Percentages of prompts whose picture is right, and how well word maps cover their objects."""
    folder = model or weights_folder("unet")
    pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": steps, "guidance_scale": guidance}
    cases = make_cases(limit, seed)
    rows: list[dict[str, Any]] = []
    if maps:
        painted = [paint_with_maps(pipe, case, options, layers) for case in cases]
        images = [image for image, _ in painted]
    else:
        images = paint(pipe, cases, options)
    verdicts = [compare(case.scene, look(image)) for case, image in zip(cases, images, strict=True)]
    report: dict[str, Any] = {"prompts": limit, "steps": steps, "guidance": guidance, "seed": seed, "layers": layers}
    report["pictures"] = picture_table(cases, verdicts)
    show("pictures right (%)", report["pictures"])
    if maps:
        for verdict, (_, heats) in zip(verdicts, painted, strict=True):
            rows += score_maps(verdict, heats)
        report["maps"] = map_table(rows)
        show("word maps", report["maps"])
    report["failures"] = [
        {"prompt": case.prompt, "seed": case.seed, "wrong": [c for c in CLAIMS if not getattr(verdict, c)]}
        for case, verdict in zip(cases, verdicts, strict=True)
        if not all(getattr(verdict, claim) for claim in CLAIMS)
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if sheet is not None:
        write_sheet(images, sheet)


def write_sheet(images: list[np.ndarray], path: Path, columns: int = 12) -> None:
    from PIL import Image

    blank = np.full_like(images[0], 255)
    padded = images + [blank] * (-len(images) % columns)
    lines = [np.concatenate(padded[first : first + columns], axis=1) for first in range(0, len(padded), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines)).save(path)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        typer.run(main)
