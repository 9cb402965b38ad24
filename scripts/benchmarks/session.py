"""What the benchmarks of generations share: their options, and a report to which every run adds its rounds."""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.interleaving import Timings, interleave
from benchmarks.models import KINDS, Scale, Subject, build

__all__ = ["PLAIN", "Report", "interleaved", "options", "parsed", "seconds_line", "subject_of", "verdict"]

PLAIN = "plain"
"""The variant that the others are divided by."""
ROUNDS = 20
"""So many an aim is judged by."""

SETTINGS = ("device", "dtype", "threads", "clock", "pixels", "full", "tiny", "steps")


def options(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all of them have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--pixels", type=int, default=512, help="height and width of the image (default 512)")
    parser.add_argument("--full", action="store_true", help="all blocks of the two transformers, not a few of each")
    parser.add_argument("--tiny", action="store_true", help="little width and depth, for trying the script out")
    parser.add_argument("--steps", type=int, default=1, help="denoising steps of the generations that are timed")
    parser.add_argument("--rounds", type=int, default=24, help="interleaved rounds (default 24)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no round after so many, for each kind")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--threads", type=int, default=1, help="of the processor (default 1)")
    parser.add_argument("--clock", choices=["wall", "processor"], help="default: processor on a CPU, else wall")
    parser.add_argument("--out", type=Path, default=Path("results"))
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options of this run, its folder made and its threads set."""
    arguments = parser.parse_args()
    arguments.clock = arguments.clock or ("wall" if torch.device(arguments.device).type == "cuda" else "processor")
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    return arguments


def subject_of(kind: str, arguments: argparse.Namespace) -> Subject:
    scale = Scale(arguments.pixels, full=arguments.full, tiny=arguments.tiny)
    return build(kind, scale, arguments.device, getattr(torch, arguments.dtype))


def interleaved(
    label: str,
    calls: dict[str, Callable[[], Any]],
    arguments: argparse.Namespace,
    check: Callable[[str, Any], None] | None = None,
) -> dict[str, list[float]]:
    """Seconds of each variant in each round; `check` is given what every call returned."""
    if not arguments.rounds:
        return {name: [] for name in calls}

    def told(number: int) -> None:
        print(f"\r{label}: round {number} of {arguments.rounds}", end="", flush=True)

    timings = interleave(
        calls,
        arguments.rounds,
        device=arguments.device,
        clock=arguments.clock,
        minutes=arguments.minutes,
        after=check,
        told=told,
    )
    print()
    return {name: list(taken) for name, taken in timings.seconds.items()}


def verdict(ratio: dict[str, float], aim: float | None) -> str:
    """Whether an aim is met by the upper bound of the interval; nothing where there is none."""
    if aim is None:
        return ""
    found = "met" if ratio["high"] <= aim else "missed"
    return f"   aim {aim:.2f}: {found if ratio['rounds'] >= ROUNDS else f'needs {ROUNDS} rounds'}"


def seconds_line(found: dict[str, Any], width: int) -> str:
    """How long the plain variant takes, below a table whose names have this width."""
    plain = found["seconds"][PLAIN]
    return f"  {'plain, seconds':<{width}}median {statistics.median(plain):.3g}, shortest {min(plain):.3g}"


class Report:
    """What is measured, by kind, in a file: written after each kind, so that what is done is not lost.

    Where there already is one of the same settings, its rounds are added to.
    """

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        on_gpu = torch.device(arguments.device).type == "cuda"
        settings: dict[str, Any] = {
            "torch": torch.__version__,
            "machine": torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine(),
            **{name: getattr(arguments, name) for name in SETTINGS},
        }
        self.path = arguments.out / f"{name}.json"
        self._content = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
        if any(self._content.get(name) != value for name, value in settings.items()):
            self._content = {**settings, "kinds": {}}

    def add(self, kind: str, found: dict[str, Any]) -> dict[str, Any]:
        """`found`, with `described`, `seconds` and what else was measured by variant; with the rounds of before."""
        before = self._content["kinds"].get(kind)
        if before and (before["described"], *before["seconds"]) == (found["described"], *found["seconds"]):
            found = _joined(before, found)
        timings = Timings(found["seconds"])
        found["ratios"] = {name: vars(timings.ratio(name, PLAIN)) for name, taken in found["seconds"].items() if taken}
        self._content["kinds"][kind] = found
        self.path.write_text(json.dumps(self._content, indent=2), encoding="utf-8")
        return found


def _joined(before: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    joined: dict[str, Any] = _united(before, found)
    joined["seconds"] = {name: [*before["seconds"][name], *taken] for name, taken in found["seconds"].items()}
    for name, difference in before["differences"].items():
        joined["differences"][name] = max(joined["differences"][name], difference)
    return joined


def _united(before: Any, found: Any) -> Any:
    """All that either has, however deep; the newer of what both have."""
    if isinstance(before, dict) and isinstance(found, dict):
        return {name: _united(before.get(name), found.get(name)) for name in before | found}
    return before if found is None else found
