"""What it costs to keep the maps of every word: generation with capture against plain generation, time and memory.

    python scripts/bench_capture.py                       # a UNet, an SD3 kind and a Flux kind at 512 px, on a CPU
    python scripts/bench_capture.py --kinds sd3 --rounds 40
    python scripts/bench_capture.py --device cuda --dtype bfloat16 --pixels 1024 --full --steps 4

Weights are random and of the real sizes (scripts/benchmarks/models.py). A generation here is text encoding and
denoising, up to the final latents; with capture it is entering and leaving `attend` and reading the maps as well. Every
round runs each variant once, and its time is divided by the plain one's in the same round; what is reported is the
median over the rounds with a 95 % interval. On a CPU it is processor time of one thread, so that other programs hardly
count; --clock wall --threads 2 takes the time on the wall. Latents must equal the plain ones to the bit.

Memory is what the tensor allocator hands out at its peak, less the same of a plain generation. Other packages that keep
maps take part where they are installed (scripts/benchmarks/peers.py). Writes `bench_capture.json` into --out; where
there already is one of the same settings, its rounds are added to.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from benchmarks.interleaving import Ratio
from benchmarks.memory import peak_bytes
from benchmarks.models import KINDS, Subject
from benchmarks.peers import peers
from benchmarks.session import PLAIN, Report, interleaved, options, parsed, seconds_line, subject_of, verdict

import promptattn

ALL, FOUR = "all words", "four words"
AIMS = {("unet", ALL): 1.05, ("sd3", ALL): 1.10, ("flux", ALL): 1.10, **{(kind, FOUR): 1.03 for kind in KINDS}}

Painted = tuple[torch.Tensor, Any]


def captured(subject: Subject, steps: int, words: tuple[str, ...] | None) -> Painted:
    """The final latents and the maps: of all words or of some, from all layers and steps."""
    with promptattn.attend(subject.pipe, subject.prompt, capture=promptattn.Capture(words=words)) as run:
        latents = subject.paint(steps, **run.inputs)
    return latents, run.maps


def variants(subject: Subject, steps: int, with_peers: bool) -> dict[str, Callable[[], Painted]]:
    """What is compared; the first is the yardstick."""
    return {
        PLAIN: lambda: (subject.plain(steps), None),
        ALL: partial(captured, subject, steps, None),
        FOUR: partial(captured, subject, steps, subject.words),
        **(peers(subject, steps) if with_peers else {}),
    }


def measured(subject: Subject, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times, memory and differences of all variants on one model."""
    calls = variants(subject, arguments.steps, arguments.peers)
    reference = subject.plain(arguments.steps)
    differences = dict.fromkeys(calls, 0.0)
    kept: dict[str, int] = {}

    def check(name: str, painted: Any) -> None:
        latents, maps = painted
        difference = float((latents - reference).abs().max())
        differences[name] = max(differences[name], difference)
        if name not in (ALL, FOUR):
            return
        if not torch.equal(latents, reference):
            raise SystemExit(f"{subject.kind}, {name}: the latents differ by {difference:g} from the plain ones")
        kept[name] = kept_bytes(maps)

    return {
        "described": subject.described,
        "seconds": interleaved(subject.kind, calls, arguments, check),
        "differences": differences,
        "memory": memory(subject, arguments),
        "kept": kept,
    }


def memory(subject: Subject, arguments: argparse.Namespace) -> dict[str, dict[str, int]]:
    """Bytes that each variant needs at its peak beyond the plain generation's, by the number of steps."""
    growth: dict[str, dict[str, int]] = {}
    for steps in arguments.memory_steps:
        calls = variants(subject, steps, arguments.peers)
        peaks = {}
        for name, call in calls.items():
            gc.collect()
            peaks[name] = peak_bytes(call, arguments.device)
        for name in list(calls)[1:]:
            growth.setdefault(name, {})[str(steps)] = peaks[name] - peaks[PLAIN]
    return growth


def kept_bytes(maps: promptattn.HeatMaps) -> int:
    """The bound on what is kept: columns x places of all layers x images, in float32."""
    return sum(record.mass.nbytes for record in maps.records)


# --- what is printed ------------------------------------------------------------------------------


def table(kind: str, found: dict[str, Any]) -> str:
    """One line for each variant; a last one says how long the plain generation takes."""
    rounds = len(found["seconds"][PLAIN])
    lines = [f"{kind}: {found['described']}; {rounds} rounds"]
    for name, ratio in list(found["ratios"].items())[1:]:
        peaks = found["memory"].get(name, {})
        growth = ", ".join(f"{size / 2**20:.1f} MiB at {steps} steps" for steps, size in peaks.items())
        kept = f" (maps {found['kept'][name] / 2**20:.1f})" if name in found["kept"] else ""
        aim = verdict(ratio, AIMS.get((kind, name)))
        lines.append(f"  {name:<36}{Ratio(**ratio)}   + {growth}{kept}{aim}")
    return "\n".join([*lines, *([seconds_line(found, 36)] if rounds else [])])


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--memory-steps", type=int, nargs="*", default=[1, 3], help="denoising steps at which memory is measured"
    )
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave other packages out")
    arguments = parsed(parser)
    report = Report("bench_capture", arguments)
    for kind in arguments.kinds:
        print(table(kind, report.add(kind, measured(subject_of(kind, arguments), arguments))), "\n", flush=True)
        gc.collect()
    print(f"written to {report.path}")


if __name__ == "__main__":
    main()
