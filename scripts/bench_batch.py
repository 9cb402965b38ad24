"""How many images a batch makes in a second, by batch size and by processes, on a model of the package.

    python scripts/bench_batch.py                                   # 200 prompts, as in docs/batch.md
    python scripts/bench_batch.py --prompts 40 --batches 1,8 --processes 1 --model shapes-dit

Each line of the table is one `promptattn batch` in processes of its own, without maps. `seconds` is what the lines took
and `with start` the whole command, imports and the loading of the model included. Both grow with whatever else the
machine does meanwhile; the seconds `of the processor`, of the whole command in all its processes, do so far less.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from promptattn.shapes import caption, sample_scene

MANY = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--mixed_precision", "no"]


def main(
    prompts: Annotated[int, typer.Option(help="How many.")] = 200,
    steps: Annotated[int, typer.Option(help="Denoising steps of each.")] = 30,
    batches: Annotated[str, typer.Option(help="Lines in one call, to be tried with one process.")] = "1,4,16",
    processes: Annotated[str, typer.Option(help="Processes, to be tried with the last of --batches.")] = "1,2",
    model: Annotated[str, typer.Option(help="A preset.")] = "shapes",
) -> None:
    """Measure, and print a table in Markdown."""
    sizes, counts = ([int(each) for each in option.split(",")] for option in (batches, processes))
    runs = [(size, 1) for size in sizes] + [(sizes[-1], count) for count in counts if count > 1]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prompts.txt"
        file.write_text("\n".join(captions(prompts)), encoding="utf-8")
        print(f"{prompts} prompts, {model}, {steps} steps, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
        print("| lines in one call | processes | seconds | images / s | with start | of the processor |")
        print("|---|---|---|---|---|---|")
        for number, (size, count) in enumerate(runs):
            out = Path(folder) / f"run_{number}"
            options = ["--out", out, "--steps", steps, "--batch", size, "--model", model, "--no-maps", "--json"]
            seconds, whole, worked = measured([file, *options], count)
            row = (size, count, f"{seconds:.1f}", f"{prompts / seconds:.2f}", f"{whole:.1f}", f"{worked:.1f}")
            print(f"| {' | '.join(map(str, row))} |", flush=True)


def captions(count: int) -> list[str]:
    """Captions of random scenes, English and Spanish by turns."""
    rng = np.random.default_rng(7)
    return [caption(sample_scene(rng), "es" if number % 2 else "en") for number in range(count)]


def measured(arguments: list[object], count: int) -> tuple[float, float, float]:
    """Seconds of the lines, of the whole command, and of the processor in all processes of it."""
    launch = ["-m"] if count == 1 else [*MANY, "--dynamo_backend", "no", "--num_processes", str(count), "--module"]
    command = [sys.executable, *launch, "promptattn.cli", "batch", *map(str, arguments)]
    began, before = time.monotonic(), worked_by_children()
    # As accelerate's launcher sets it for its processes; the batch itself works with one thread in each.
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    whole = time.monotonic() - began
    if done.returncode:
        sys.exit(done.stderr)
    lines = json.loads(done.stdout[done.stdout.index("{") :])["seconds"]
    return lines, whole, worked_by_children() - before


def worked_by_children() -> float:
    """Seconds that the processor has worked for processes started here that have ended."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    typer.run(main)
