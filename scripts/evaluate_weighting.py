"""All weighting methods against each other, on the two shapes pipelines: one table, one figure, losses and advice.

    python scripts/evaluate_weighting.py                          # both models, 2 processes; resumes after a kill
    python scripts/evaluate_weighting.py --report-only            # tables and figures from what is there
    python scripts/evaluate_weighting.py --model shapes --methods attention,comfy,compel
    python scripts/evaluate_weighting.py --start-from shapes=runs/study/shapes     # results of study_weights.py count

Every scene has one seed, so that all its images start from the same latents. What the defaults paint, for each model:

    8 methods x 7 weights (-1 0 0.5 1.2 1.5 2 3) x 2 kinds of words (colour, noun) x 32 scenes           3584 images
    less what two methods do alike (compel is comfy above 1, down_weight is comfy++ below 1)             - 448
    0.5 on one other word and on all others, 16 scenes, 7 methods that differ there                      + 224
    without weights                                                                                      + 32
                                                                                                         3392
    shapes-dit: less NegPip, which has no meaning in it                                                  - 480

Measured at 20 steps, one thread and 8 images in a call: 0.42 s of a core for an image of shapes, 1.3 s of shapes-dit.
Together that is 3392 x 0.42 s + 2912 x 1.3 s = 5200 s of a core: 44 minutes on two.

Two ways to share the work: --processes (this script starts them), or several machines with --shard 0/4 ... on one
folder each, whose results.jsonl can simply be joined. A shard paints and reports nothing; --report-only does.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from promptattn.errors import ConfigError, PromptAttnError
from promptattn.shapes.study.cases import Case, scene_cases
from promptattn.weighting import METHODS

SHAPES = ("shapes", "shapes-dit")


def chosen_methods(methods: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in methods.split(","))
    if unknown := [name for name in names if name not in METHODS]:
        raise ConfigError(f"--methods: there is no {', '.join(unknown)}; choose from {', '.join(METHODS)}.")
    return names


def folders_of(start_from: Sequence[str], models: Sequence[str]) -> list[Path | None]:
    """`--start-from MODEL=FOLDER` by model, None for those without."""
    known: dict[str, Path] = {}
    for each in start_from:
        model, equals, folder = each.partition("=")
        if not equals or model not in models:
            raise ConfigError(f"--start-from {each} must be MODEL=FOLDER, for a model of {', '.join(models)}.")
        if not (Path(folder) / "settings.json").is_file():
            raise ConfigError(f"--start-from {each}: there are no results of a study in {folder}.")
        known[model] = Path(folder)
    return [known.get(model) for model in models]


def in_processes(count: int, threads: int) -> None:
    """This very command as `count` shards at once; each has its share of the scenes.

    Raises:
        ConfigError: when one of them fails; the others go on to their end.
    """
    share = threads or max(1, (os.cpu_count() or count) // count)
    command = [sys.executable, *sys.argv, "--threads", str(share)]
    running = [subprocess.Popen([*command, "--shard", f"{index}/{count}"]) for index in range(count)]
    try:
        failed = [process.args for process in running if process.wait()]
    except BaseException:
        for process in running:
            process.terminate()
        raise
    if failed:
        raise ConfigError(f"{len(failed)} of {count} processes failed, as they say above; run again to go on.")


def work(
    out: Path,
    models: Sequence[str],
    methods: tuple[str, ...],
    cases: list[Case],
    shard: str,
    numbers: dict[str, int],
    start_from: Sequence[Path | None],
    limit: int | None,
) -> None:
    import torch

    from promptattn.shapes.study.methods.running import fill, prepare

    if numbers["threads"]:
        torch.set_num_threads(numbers["threads"])
    works = [prepare(model, out / model, methods, numbers["steps"], numbers["seed"]) for model in models]
    made = fill(
        works,
        cases,
        shard=shard,
        batch=numbers["batch"],
        start_from=start_from,
        limit=limit,
        progress=lambda line: typer.echo(line),
    )
    typer.echo(f"{made} new results in {out}")


def report(folder: Path, methods: tuple[str, ...], cases: list[Case]) -> None:
    from promptattn.shapes.study.methods.report import build
    from promptattn.shapes.study.methods.running import refused
    from promptattn.shapes.study.methods.tables import markdown
    from promptattn.shapes.study.store import Store
    from promptattn.shapes.study.table import Table
    from promptattn.shapes.study.wording import compact

    store = Store(folder)
    settings = {**store.settings, "refused": refused(folder)}
    found = build(Table(store, cases), methods, settings)
    text = markdown(found)
    (folder / "report.md").write_text(text, encoding="utf-8")
    (folder / "report.json").write_text(compact(found), encoding="utf-8")
    typer.echo(text)
    if not found["methods"]:
        return
    try:
        from promptattn.shapes.study.methods.figure import draw

        draw(found, folder / "report.png")
    except ImportError:
        typer.echo("no figure: matplotlib is not installed (pip install promptattn[plot])")


def main(
    model: Annotated[list[str], typer.Option(help="shapes, shapes-dit; may be given twice.")] = list(SHAPES),  # noqa: B006
    out: Annotated[Path, typer.Option(help="Folder of the results; each model has one in it.")] = Path("runs/methods"),
    methods: Annotated[str, typer.Option(help="Which methods, with commas between.")] = ",".join(METHODS),
    scenes: Annotated[int, typer.Option(help="Scenes in every cell.", min=1)] = 32,
    seed: Annotated[int, typer.Option(help="Chooses scenes and latents.", min=0)] = 0,
    steps: Annotated[int, typer.Option(help="Denoising steps.", min=1)] = 20,
    batch: Annotated[int, typer.Option(help="Images in one pipeline call.", min=1)] = 8,
    processes: Annotated[int, typer.Option(help="How many processes share the work.", min=1)] = 2,
    shard: Annotated[
        str | None, typer.Option(help="Only this share of the scenes, such as 0/2, in this process.")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of each process (0: its share).", min=0)] = 0,
    start_from: Annotated[
        list[str], typer.Option(help="MODEL=FOLDER of study_weights.py, whose results are taken over.")
    ] = [],  # noqa: B006
    limit: Annotated[int | None, typer.Option(help="Stop after so many new images, in this process.", min=1)] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Paint nothing.")] = False,
) -> None:
    """Paint, measure and report into folders that a later call goes on with."""
    names, models, cases = chosen_methods(methods), tuple(dict.fromkeys(model)), scene_cases(scenes, seed)
    if unknown := [each for each in models if each not in SHAPES]:
        raise ConfigError(
            f"--model {unknown[0]} is none of {', '.join(SHAPES)}: only they were trained on these scenes."
        )
    before = folders_of(start_from, models)
    if not report_only:
        if shard is None and processes > 1 and limit is None:
            in_processes(processes, threads)
        else:
            numbers = {"steps": steps, "seed": seed, "batch": batch, "threads": threads}
            work(out, models, names, cases, shard or "0/1", numbers, before, limit)
    if shard is None:
        for each in models:
            report(out / each, names, cases)


if __name__ == "__main__":
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # An exit, not a death, so that the processes that were started end with this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        typer.run(main)
    except PromptAttnError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
