"""Train the pipelines that ship with promptattn, from nothing, and export them as diffusers folders.

python scripts/train_shapes.py unet --folder runs/unet                # trains, or resumes after a kill
python scripts/train_shapes.py unet --folder runs/unet --export-only --export promptattn/shapes/weights/unet
torchrun --nproc-per-node 2 scripts/train_shapes.py unet --folder runs/unet    # two processes, gradients averaged
python scripts/train_shapes.py dit --folder runs/dit --unet-folder runs/unet   # after the UNet: it uses its encoders
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from accelerate import Accelerator

from promptattn.shapes.training.dit_run import FULL_DIT, SMOKE_DIT, export_dit_run, train_dit_pipeline
from promptattn.shapes.training.unet_run import FULL, SMOKE, export_run, train_unet_pipeline

app = typer.Typer(add_completion=False, help=__doc__)


@app.callback()
def main() -> None:
    """Train the shapes pipelines."""


@app.command()
def unet(
    folder: Annotated[Path, typer.Option(help="Run folder: checkpoints, logs, cached latents.")] = Path("runs/unet"),
    export: Annotated[Path | None, typer.Option(help="Where the pipeline folder goes [folder/pipeline].")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoiser steps, if other than the preset's.")] = None,
    batch: Annotated[int | None, typer.Option(help="Denoiser batch per process, if other than the preset's.")] = None,
    lr: Annotated[float | None, typer.Option(help="Denoiser peak learning rate, if other than the preset's.")] = None,
    smoke: Annotated[bool, typer.Option(help="Seconds instead of hours; the result is noise.")] = False,
    export_only: Annotated[bool, typer.Option(help="Only export the last checkpoints.")] = False,
    cpu: Annotated[bool, typer.Option(help="Stay on the CPU even where there is a GPU.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads per process (0: as torch chooses).")] = 0,
    compiled: Annotated[
        bool, typer.Option(help="torch.compile the denoiser: minutes at first, then a third faster.")
    ] = False,
    precision: Annotated[str, typer.Option(help="Autocast: no, bf16 or fp16.")] = "bf16",
) -> None:
    """VAE, CLIP text encoder and UNet of the Stable Diffusion kind."""
    if threads:
        torch.set_num_threads(threads)
    plan = SMOKE if smoke else FULL
    plan = replace(
        plan, unet=replace(plan.unet, steps=steps or plan.unet.steps, lr=lr or plan.unet.lr, compiled=compiled)
    )
    if batch is not None:
        plan = replace(plan, batches={**plan.batches, "unet": batch})
    if export_only:
        target = export or folder / "pipeline"
        typer.echo(f"{target}: {export_run(plan, folder, target) / 1e6:.1f} MB")
        return
    accelerator = Accelerator(cpu=cpu, mixed_precision=precision)
    train_unet_pipeline(accelerator, plan, folder, export, accelerator.print)


@app.command()
def dit(
    folder: Annotated[Path, typer.Option(help="Run folder: checkpoints, logs.")] = Path("runs/dit"),
    unet_folder: Annotated[
        Path, typer.Option(help="Run folder of the UNet, whose autoencoder, text encoder and latents are used.")
    ] = Path("runs/unet"),
    export: Annotated[Path | None, typer.Option(help="Where the pipeline folder goes [folder/pipeline].")] = None,
    coarse_steps: Annotated[int | None, typer.Option(help="Steps on patches of 2 x 2 cells.")] = None,
    fine_steps: Annotated[int | None, typer.Option(help="Steps on single cells.")] = None,
    batch: Annotated[int | None, typer.Option(help="Batch per process, if other than the preset's.")] = None,
    smoke: Annotated[bool, typer.Option(help="Seconds instead of hours; the result is noise.")] = False,
    export_only: Annotated[bool, typer.Option(help="Only export the last checkpoint.")] = False,
    cpu: Annotated[bool, typer.Option(help="Stay on the CPU even where there is a GPU.")] = False,
    threads: Annotated[int, typer.Option(help="CPU threads per process (0: as torch chooses).")] = 0,
    compiled: Annotated[bool, typer.Option(help="torch.compile the denoiser: minutes at first, then faster.")] = False,
    precision: Annotated[str, typer.Option(help="Autocast: no, bf16 or fp16.")] = "bf16",
) -> None:
    """SD3Transformer2DModel of the Stable Diffusion 3 kind, on the parts of a UNet run."""
    if threads:
        torch.set_num_threads(threads)
    plan = SMOKE_DIT if smoke else FULL_DIT
    plan = replace(
        plan,
        coarse=replace(plan.coarse, steps=coarse_steps or plan.coarse.steps, compiled=compiled),
        fine=replace(plan.fine, steps=fine_steps or plan.fine.steps, compiled=compiled),
        batches=plan.batches if batch is None else dict.fromkeys(plan.batches, batch),
    )
    if export_only:
        target = export or folder / "pipeline"
        typer.echo(f"{target}: {export_dit_run(plan, folder, unet_folder, target) / 1e6:.1f} MB")
        return
    accelerator = Accelerator(cpu=cpu, mixed_precision=precision)
    train_dit_pipeline(accelerator, plan, folder, unet_folder, export, accelerator.print)


if __name__ == "__main__":
    app()
