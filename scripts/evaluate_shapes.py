"""Judge a shapes pipeline from its pixels and its word maps, over held-out prompts at fixed seeds.

    python scripts/evaluate_shapes.py --limit 204                      # the UNet that ships: pictures and maps
    python scripts/evaluate_shapes.py --model shapes-dit --steps 20 --guidance 2 --limit 204   # the DiT
    python scripts/evaluate_shapes.py --no-maps --limit 48             # pictures only
    python scripts/evaluate_shapes.py --limit 204 --peer daam          # the same pictures' maps by another package

Half of the prompts are new scenes of the kind seen in training, half have a colour x shape pair that training never
showed. Colours, shapes, relation and background are read off the image by `promptattn.shapes.look`, and the truth of a
map is the mask of the object that is found in the generated image. `--recordings FOLDER` keeps what was recorded, so
that a run that was stopped goes on, and tables can be made again. Tables go to the terminal as Markdown, and beside the
JSON report as `.md`. What the measures and controls are is said in `promptattn.shapes.evaluation` and docs/maps.md.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

import promptattn
from promptattn.shapes import compare, look
from promptattn.shapes.evaluation.cases import Case, make_cases
from promptattn.shapes.evaluation.peers import PEERS, peer, why_not
from promptattn.shapes.evaluation.pictures import failures, paint, picture_table
from promptattn.shapes.evaluation.recording import Recording
from promptattn.shapes.evaluation.report import markdown
from promptattn.shapes.evaluation.session import Session
from promptattn.shapes.evaluation.tables import Row, absent_table, grounding_table, peer_table

ABSENT_EVERY = 3  # one prompt in three is painted again with a word that is not in its scene


def main(
    model: Annotated[str, typer.Option(help="Preset, folder or hub id.")] = "shapes",
    limit: Annotated[int, typer.Option(help="Number of prompts.", min=1)] = 240,
    steps: Annotated[int, typer.Option(min=1)] = 25,
    guidance: Annotated[float, typer.Option()] = 4.0,
    seed: Annotated[int, typer.Option(help="Chooses prompts and images.", min=0)] = 0,
    maps: Annotated[bool, typer.Option(help="Score the word maps too.")] = True,
    layers: Annotated[str | None, typer.Option(help="Record these attention layers only, as 'up_blocks.*'.")] = None,
    peers: Annotated[list[str] | None, typer.Option("--peer", help=f"Also ask: {'; '.join(PEERS)}.")] = None,
    peer_limit: Annotated[int, typer.Option(help="Number of prompts that peers are asked about.", min=1)] = 68,
    recordings: Annotated[Path | None, typer.Option(help="Keep recordings here, and use those that are here.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of torch.", min=1)] = None,
    out: Annotated[Path, typer.Option(help="JSON report; tables go beside it as .md.")] = Path("results/shapes.json"),
    sheet: Annotated[Path | None, typer.Option(help="Also write the images as one picture.")] = None,
) -> None:
    """Percentages of prompts whose picture is right, and how well word maps cover their objects."""
    for name in peers or []:
        peer(name)
    if threads:
        torch.set_num_threads(threads)
    pipe = promptattn.load(model)
    options = {"num_inference_steps": steps, "guidance_scale": guidance}
    cases = make_cases(limit, seed)
    report: dict[str, Any] = {"model": model, "prompts": limit, "seed": seed, "layers": layers, **options}
    with tempfile.TemporaryDirectory() as scratch:
        session = Session(pipe, options, recordings or Path(scratch), layers=layers, told=_told)
        if maps:
            found = session.recordings(cases)
            images = [recording.image for recording in found]
            report["maps"] = grounding_table(found) + absent_table(session.absent(cases[::ABSENT_EVERY]))
            report["maps"] += _peer_rows(pipe, session, cases[:peer_limit], found[:peer_limit], peers or [])
        else:
            images = paint(pipe, cases, options)
    verdicts = [compare(case.scene, look(image)) for case, image in zip(cases, images, strict=True)]
    report["pictures"] = picture_table(cases, verdicts)
    report["failures"] = failures(cases, verdicts)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(markdown(report), encoding="utf-8")
    typer.echo(markdown(report))
    if sheet is not None:
        write_sheet(images, sheet)


def _peer_rows(
    pipe: Any, session: Session, cases: list[Case], recordings: list[Recording], names: list[str]
) -> list[Row]:
    able = []
    for name in names:
        if reason := why_not(name, pipe):
            typer.echo(f"{name} is left out: {reason}.", err=True)
        else:
            recordings = session.ask(name, cases, recordings)
            able.append(name)
    return peer_table(recordings, able)


def _told(line: str) -> None:
    typer.echo(line, err=True)


def write_sheet(images: list[np.ndarray], path: Path, columns: int = 12) -> None:
    blank = np.full_like(images[0], 255)
    padded = images + [blank] * (-len(images) % columns)
    lines = [np.concatenate(padded[first : first + columns], axis=1) for first in range(0, len(padded), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines)).save(path)


if __name__ == "__main__":
    typer.run(main)
