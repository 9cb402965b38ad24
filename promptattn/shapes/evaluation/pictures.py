"""How many pictures show what was asked for, claim by claim, and in which groups of prompts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from promptattn.shapes.evaluation.cases import Case
from promptattn.shapes.judge import Verdict

__all__ = ["CLAIMS", "failures", "paint", "picture_table"]

CLAIMS = ("count", "colour", "shape", "relation", "background")
BATCH = 24


def paint(pipe: Any, cases: Sequence[Case], options: Mapping[str, Any]) -> list[np.ndarray]:
    """Images uint8 [height, width, 3], in batches; each has a generator of its own, so batches change nothing."""
    import torch

    images = []
    for first in range(0, len(cases), BATCH):
        part = cases[first : first + BATCH]
        generators = [torch.Generator().manual_seed(case.seed) for case in part]
        result = pipe([case.prompt for case in part], generator=generators, **options)
        images += [np.asarray(image.convert("RGB")) for image in result.images]
    return images


def picture_table(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> dict[str, dict[str, float]]:
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
            table[name][claim] = _percent(values)
        table[name]["everything"] = _percent([all(getattr(verdict, claim) for claim in CLAIMS) for _, verdict in rows])
    return table


def failures(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Prompt, seed and wrong claims of every picture that is not right in everything."""
    wrong = [[claim for claim in CLAIMS if not getattr(verdict, claim)] for verdict in verdicts]
    return [
        {"prompt": case.prompt, "seed": case.seed, "wrong": claims}
        for case, claims in zip(cases, wrong, strict=True)
        if claims
    ]


def _percent(values: Sequence[bool]) -> float:
    return round(100 * float(np.mean(values)), 1) if values else float("nan")
