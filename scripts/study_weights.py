"""What a prompt weight does to the image: where it acts, how strongly, what else it changes, and when it breaks.

    python scripts/study_weights.py                                 # the shapes UNet, everything; resumes after a kill
    python scripts/study_weights.py --report-only                   # tables and figure from what is there
    python scripts/study_weights.py --model shapes-dit
    python scripts/study_weights.py --model runwayml/stable-diffusion-v1-5 --device cuda --dtype float16 \\
        --prompts my_prompts.txt --seeds 4                          # lines such as: a {red} cat next to a {blue} dog

Every case has one seed, so that all its images start from the same latents. On the shapes world objects are known by
their colours; on any other model (with --prompts) places are known by the words' own maps. Two processes may share the
work: --shard 0/2 and --shard 1/2.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from promptattn.errors import ConfigError, PromptAttnError
from promptattn.shapes.study.cases import Case, prompt_cases, scene_cases
from promptattn.shapes.study.cells import ARMS, Cell, grid
from promptattn.shapes.study.running import load_pipe, of_shard, options_of, settings_of

SHAPES = ("shapes", "shapes-dit")
TARGETS = ("noun", "colour")


def read_cases(prompts: Path | None, scenes: int, seeds: int, seed: int) -> list[Case]:
    if prompts is None:
        return scene_cases(scenes, seed)
    if not prompts.is_file():
        raise ConfigError(f"there is no file of prompts at {prompts}.")
    return prompt_cases(prompts.read_text(encoding="utf-8").splitlines(), seeds, seed)


def chosen_arms(arms: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in arms.split(","))
    if unknown := [name for name in names if name not in ARMS]:
        raise ConfigError(f"--arms: there is no {', '.join(unknown)}; choose from {', '.join(ARMS)}.")
    return names


def work(
    folder: Path, model: str, cases: list[Case], cells: list[Cell], numbers: dict[str, Any], run: dict[str, Any]
) -> None:
    """Paint and measure what is missing. `numbers` are the settings that results depend on, `run` those they do not."""
    import torch

    from promptattn.shapes.study.painter import Painted, paint
    from promptattn.shapes.study.session import Session
    from promptattn.shapes.study.store import Store

    mine = of_shard(cases, run["shard"])
    if run["threads"]:
        torch.set_num_threads(run["threads"])
    pipe = load_pipe(model, run["device"], numbers["dtype"])
    options = options_of(pipe, numbers["steps"], numbers["guidance"])
    world = cases[0].scene is not None
    maps = run["maps"] or not world
    texts = "shapes" if world else run["texts"]
    settings = settings_of(model, pipe, options, dtype=numbers["dtype"], seed=numbers["seed"], texts=texts, maps=maps)

    def painter(cell: Cell, part: Sequence[Case]) -> list[Painted]:
        return paint(pipe, cell, part, options, maps=maps)

    session = Session(
        folder,
        Store(folder, settings),
        painter,
        mine,
        batch=run["batch"],
        maps=maps,
    )
    if run["strip"] is not None:
        write_strips(
            painter, cases, run["strip"], list(dict.fromkeys((cell.arm, cell.target) for cell in cells)), folder
        )
        return
    made = session.run(cells, run["limit"])
    typer.echo(f"{made} new results in {folder}")


def write_strips(painter: Any, cases: list[Case], index: int, columns: list[tuple[str, str]], folder: Path) -> None:
    from promptattn.shapes.study.strip import strip

    if index >= len(cases):
        raise ConfigError(f"--strip {index}: there are only {len(cases)} cases, counted from 0.")
    for target in dict.fromkeys(target for _, target in columns):
        arms = [arm for arm, each in columns if each == target and arm != "odds"]
        path = folder / f"strip-{index}-{target}.png"
        strip(painter, cases[index], target, arms).save(path, optimize=True)
        typer.echo(f"{path}")


def report(folder: Path, cases: list[Case], arms: tuple[str, ...], targets: tuple[str, ...]) -> None:
    from promptattn.shapes.study.report import build, markdown
    from promptattn.shapes.study.store import Store
    from promptattn.shapes.study.table import Table
    from promptattn.shapes.study.wording import compact

    store = Store(folder)
    found = build(Table(store, cases), arms, targets, {**store.settings, "scenes": len(cases)})
    text = markdown(found)
    (folder / "report.md").write_text(text, encoding="utf-8")
    (folder / "report.json").write_text(compact(found), encoding="utf-8")
    typer.echo(text)
    try:
        from promptattn.shapes.study.figure import draw

        draw(found, folder / "report.png")
    except ImportError:
        typer.echo("no figure: matplotlib is not installed (pip install promptattn[plot])")


def main(
    model: Annotated[str, typer.Option(help="Preset, folder of a pipeline, or hub id.")] = "shapes",
    out: Annotated[Path | None, typer.Option(help="Folder of the results [runs/study/MODEL].")] = None,
    prompts: Annotated[Path | None, typer.Option(help="File of marked prompts instead of shapes scenes.")] = None,
    scenes: Annotated[int, typer.Option(help="Shapes scenes in every cell.", min=1)] = 32,
    seeds: Annotated[int, typer.Option(help="With --prompts: images of each line.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Chooses scenes and latents.", min=0)] = 0,
    arms: Annotated[str, typer.Option(help="Which arms, with commas between.")] = ",".join(ARMS),
    steps: Annotated[int, typer.Option(help="Denoising steps.", min=1)] = 20,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale [as suits the model].")] = None,
    maps: Annotated[bool, typer.Option(help="Shapes scenes: measure the word maps too.")] = False,
    batch: Annotated[int, typer.Option(help="Images in one pipeline call.", min=1)] = 16,
    limit: Annotated[int | None, typer.Option(help="Stop after so many new images.", min=1)] = None,
    shard: Annotated[str, typer.Option(help="This process's share of the cases, such as 0/2.")] = "0/1",
    threads: Annotated[int, typer.Option(help="CPU threads (0: as torch chooses).", min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps ...")] = "cpu",
    dtype: Annotated[str, typer.Option(help="Of the weights: float32, float16, bfloat16.")] = "float32",
    strip: Annotated[
        int | None, typer.Option(help="Only paint this case, all arms and weights, as one picture for each target.")
    ] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Paint nothing.")] = False,
) -> None:
    """Paint, measure, and report, into one folder that a later call goes on with."""
    folder = out or Path("runs/study") / re.sub(r"[^\w.-]+", "_", model)
    names = chosen_arms(arms)
    cases = read_cases(prompts, scenes, seeds, seed)
    if prompts is None and model not in SHAPES and not Path(model).is_dir():
        raise ConfigError(f"{model} was not trained on shapes scenes; give it prompts of its own, with --prompts FILE.")
    targets = TARGETS if prompts is None else ("word",)
    if not report_only:
        numbers = {"steps": steps, "guidance": guidance, "dtype": dtype, "seed": seed}
        run = {
            "maps": maps,
            "batch": batch,
            "limit": limit,
            "shard": shard,
            "strip": strip,
            "threads": threads,
            "device": device,
            "texts": [case.text for case in cases],
        }
        work(folder, model, cases, grid(names, targets), numbers, run)
    if strip is not None and not report_only:
        return
    report(folder, cases, names, targets)


if __name__ == "__main__":
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        typer.run(main)
    except PromptAttnError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
