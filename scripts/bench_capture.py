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
import json
import math
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.interleaving import Ratio, Timings, interleave
from benchmarks.memory import peak_bytes
from benchmarks.models import KINDS, Scale, Subject, build
from benchmarks.peers import peers

import promptattn

PLAIN = "plain"
ALL, FOUR = "all words", "four words"
SETTINGS = ("device", "dtype", "threads", "clock", "pixels", "full", "tiny", "steps")
ROUNDS = 20
"""So many an aim is judged by."""
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

    def told(round_: int) -> None:
        print(f"\r{subject.kind}: round {round_} of {arguments.rounds}", end="", flush=True)

    seconds: Mapping[str, Sequence[float]] = {name: [] for name in calls}
    if arguments.rounds:
        seconds = interleave(
            calls,
            arguments.rounds,
            device=arguments.device,
            clock=arguments.clock,
            minutes=arguments.minutes,
            after=check,
            told=told,
        ).seconds
        print()
    return {
        "described": subject.described,
        "seconds": seconds,
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


def joined(before: dict[str, Any] | None, found: dict[str, Any]) -> dict[str, Any]:
    """What was measured before and now, and the ratios of all rounds together."""
    if before and (before["described"], *before["seconds"]) == (found["described"], *found["seconds"]):
        found["seconds"] = {name: [*before["seconds"][name], *taken] for name, taken in found["seconds"].items()}
        found["differences"] = {name: max(before["differences"][name], d) for name, d in found["differences"].items()}
        memory = before["memory"], found["memory"]
        found["memory"] = {name: memory[0].get(name, {}) | memory[1].get(name, {}) for name in found["seconds"]}
        found["kept"] = before["kept"] | found["kept"]
    timings = Timings(found["seconds"])
    found["ratios"] = {name: vars(timings.ratio(name, PLAIN)) for name in timings.seconds if timings.seconds[name]}
    return found


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
        lines.append(f"  {name:<36}{Ratio(**ratio)}   + {growth}{kept}{judged(kind, name, ratio)}")
    if plain := found["seconds"][PLAIN]:
        lines.append(f"  {'plain, seconds':<36}median {statistics.median(plain):.2f}, shortest {min(plain):.2f}")
    return "\n".join(lines)


def judged(kind: str, name: str, ratio: dict[str, float]) -> str:
    aim = AIMS.get((kind, name))
    if aim is None:
        return ""
    verdict = "met" if ratio["high"] <= aim else "missed"
    return f"   aim {aim:.2f}: {verdict if ratio['rounds'] >= ROUNDS else f'needs {ROUNDS} rounds'}"


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    on_gpu = torch.device(arguments.device).type == "cuda"
    arguments.clock = arguments.clock or ("wall" if on_gpu else "processor")
    settings: dict[str, Any] = {
        "torch": torch.__version__,
        "machine": torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine(),
        **{name: getattr(arguments, name) for name in SETTINGS},
    }
    path = arguments.out / "bench_capture.json"
    report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if any(report.get(name) != value for name, value in settings.items()):
        report = {**settings, "kinds": {}}
    for kind in arguments.kinds:
        scale = Scale(arguments.pixels, full=arguments.full, tiny=arguments.tiny)
        subject = build(kind, scale, arguments.device, getattr(torch, arguments.dtype))
        report["kinds"][kind] = joined(report["kinds"].get(kind), measured(subject, arguments))
        print(table(kind, report["kinds"][kind]), "\n", flush=True)
        # After each kind: what is done is not lost with what comes after it.
        path.write_text(json.dumps(report, indent=2), encoding="utf-8")
        del subject
        gc.collect()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--pixels", type=int, default=512, help="height and width of the image (default 512)")
    parser.add_argument("--full", action="store_true", help="all blocks of the two transformers, not a few of each")
    parser.add_argument("--tiny", action="store_true", help="little width and depth, for trying the script out")
    parser.add_argument("--steps", type=int, default=1, help="denoising steps of the generations that are timed")
    parser.add_argument("--rounds", type=int, default=24, help="default 24; 0 measures memory alone")
    parser.add_argument("--minutes", type=float, default=math.inf, help="for each kind; rounds end then")
    parser.add_argument(
        "--memory-steps", type=int, nargs="*", default=[1, 3], help="denoising steps at which memory is measured"
    )
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="leave other packages out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["wall", "processor"], help="default: processor on a CPU, else wall")
    parser.add_argument("--out", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    run(arguments)
    print(f"written to {arguments.out / 'bench_capture.json'}")


if __name__ == "__main__":
    main()
