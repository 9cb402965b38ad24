"""From a config to a finished folder, and from a saved folder to another export of it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import Image

from promptattn.config import DTYPES, ExportConfig, RunConfig, SizeConfig
from promptattn.errors import ConfigError
from promptattn.export import atomic_folder, read_saved, select, write
from promptattn.maps import Capture, HeatMaps
from promptattn.prompt import parse
from promptattn.records import RecordsSize
from promptattn.run.cost.estimate import Estimate, first_of
from promptattn.run.generate import MARKERS, Generation, generate
from promptattn.run.loading.load import load
from promptattn.run.loading.schedulers import check_scheduler, set_scheduler
from promptattn.run.progress import overall
from promptattn.run.recording.record_folders import capture_of, check_record_folders

__all__ = [
    "CONFIG_FILE",
    "Finished",
    "export_saved",
    "filled_in",
    "load_pipeline",
    "options_of",
    "run_config",
    "write_made",
]

CONFIG_FILE = "promptattn.yaml"
"""The config that makes a folder again, written into it."""

_MARKERS = (*MARKERS, CONFIG_FILE)


@dataclass(frozen=True, eq=False)
class Finished:
    """One run that was written: where to, and what it made."""

    folder: Path
    generation: Generation


def run_config(
    config: RunConfig,
    *,
    on_stage: Callable[[str], None] = lambda stage: None,
    on_step: Callable[[int, int], None] | None = None,
    on_records: Callable[[str, RecordsSize], None] | None = None,
    on_estimate: Callable[[Estimate], None] | None = None,
) -> list[Finished]:
    """Do what a config says: load, generate, and write `config.export.folder`, whole or not at all.

    One seed is written to the folder itself, several to `seed_7`, `seed_8` ... in it. The folder also gets
    `promptattn.yaml`: the config, with what it left to the preset or the pipeline filled in.

    Args:
        config: see :func:`promptattn.config.load_config`.
        on_stage: called with what begins now, such as `Loading sdxl`.
        on_step: called with (steps done, steps in all) after each step.
        on_records: called with the folder of records and with how much goes there, before the first step.
        on_estimate: called after the second step with what all seeds together take of memory and time.

    Raises:
        ConfigError: when there is no prompt, and for settings that the model cannot take.
        ExportError: when a folder exists or cannot be written; asked before anything is loaded.
        PromptAttnError: whatever :func:`promptattn.load` and :func:`promptattn.generate` raise.
    """
    prompts = _prompts(config)
    check_record_folders(config)
    export = config.export
    # Opened first: a folder that cannot be written is refused before the image is made, not after.
    with atomic_folder(export.folder, force=export.force, marker=_MARKERS) as partial:
        if config.scheduler is not None:
            check_scheduler(config.scheduler.name)
        on_stage(f"Loading {config.model.name}")
        pipe = load_pipeline(config)
        finished: list[Finished] = []
        for number, seed in enumerate(config.seed):
            on_stage("Generating" if len(config.seed) == 1 else f"Generating seed {seed}")
            capture = capture_of(config, seed, on_records)
            on_seed = overall(on_step, number, len(config.seed))
            first = first_of(on_estimate, number, len(config.seed))
            made = _generate(pipe, config, prompts, seed, capture, on_seed, first)
            inside = "" if len(config.seed) == 1 else f"seed_{seed}"
            (partial / inside).mkdir(exist_ok=True)
            on_stage("Writing")
            write_made(made, partial / inside, export)
            finished.append(Finished(Path(export.folder) / inside, made))
        text = filled_in(config, pipe, finished[0].generation).to_yaml()
        (partial / CONFIG_FILE).write_text(text, encoding="utf-8")
    return finished


def export_saved(source: str | PathLike[str], export: ExportConfig, *, images: list[Path] | None = None) -> Path:
    """Export the maps of a saved run once more: other words, layers, steps or kinds of files; returns the folder.

    Args:
        source: a folder that `generate` or `save` wrote, or its `maps.npz` or `maps.safetensors`. A folder of several
            seeds is exported seed by seed.
        export: what to write, and where.
        images: pictures to lay the maps over, in place of those that lie beside them.

    Raises:
        ExportError: when there are no maps at `source`, or the folder exists or cannot be written.
        CaptureError, ConfigError: for words, steps or layers that were not recorded.
    """
    source = Path(source).expanduser()
    saved = {part.name if part != source else "": read_saved(part, images) for part in _parts(source)}
    with atomic_folder(export.folder, force=export.force, marker=_MARKERS) as partial:
        for name, (maps, pictures) in saved.items():
            (partial / name).mkdir(exist_ok=True)
            # A picture from elsewhere was not made with the settings of these maps.
            _write_maps(maps, pictures, partial / name, export, metadata=export.metadata and images is None)
        if (source / CONFIG_FILE).is_file():
            shutil.copyfile(source / CONFIG_FILE, partial / CONFIG_FILE)
    return Path(export.folder)


def _prompts(config: RunConfig) -> list[str]:
    if config.prompt is None:
        raise ConfigError("there is no prompt: give one on the command line, or as 'prompt' in the config.")
    for text in (*config.prompt, *(config.negative_prompt or ())):
        parse(text, config.syntax)  # what cannot be read is refused before a model is loaded
    return config.prompt


def load_pipeline(config: RunConfig) -> Any:
    """The pipeline that a config names, with the scheduler that it asks for."""
    model = config.model
    pipe = load(model.name, dtype=config.dtype, device=config.device, revision=model.revision, variant=model.variant)
    if config.scheduler is not None:
        set_scheduler(pipe, config.scheduler.name, config.scheduler.options)
    return pipe


def options_of(config: RunConfig) -> dict[str, Any]:
    """What a config says of how images are made, as keyword arguments of :func:`promptattn.generate`."""
    return {
        "num_inference_steps": config.steps,
        "guidance_scale": config.guidance,
        "true_cfg_scale": config.true_cfg,
        "height": config.size.height,
        "width": config.size.width,
        "syntax": config.syntax,
        "weighting": config.weighting.chosen(),
        "layers": config.weighting.layers,
        "weight_steps": config.weighting.steps,
        "rows": config.weighting.rows,
        "capture": False if config.capture is None else config.capture.capture(),
        "clip_skip": config.clip_skip,
        "max_sequence_length": config.max_sequence_length,
    }


def _generate(
    pipe: Any,
    config: RunConfig,
    prompts: list[str],
    seed: int,
    capture: Capture | bool,
    on_step: Callable[[int, int], None] | None,
    on_estimate: Callable[[Estimate], None] | None,
) -> Generation:
    negatives = config.negative_prompt
    return generate(
        pipe,
        prompts[0] if len(prompts) == 1 else prompts,
        negatives[0] if negatives and len(negatives) == 1 else negatives,
        seed=seed,
        num_images_per_prompt=config.images,
        on_step=on_step,
        on_estimate=on_estimate,
        **{**options_of(config), "capture": capture},
    )


def filled_in(config: RunConfig, pipe: Any, made: Generation) -> RunConfig:
    """The config that makes it again, with what was left to the preset or the pipeline."""
    dtype = str(pipe.dtype).removeprefix("torch.")
    found = {
        "dtype": dtype if dtype in DTYPES else config.dtype,
        "max_sequence_length": made.settings.get("max_sequence_length"),
        "steps": made.settings.get("num_inference_steps", config.steps),
        "guidance": made.settings.get("guidance_scale", config.guidance),
        "size": SizeConfig(height=made.images[0].height, width=made.images[0].width),
        # Making it again is no consent to replacing it.
        "export": config.export.model_copy(update={"force": False}),
    }
    return config.model_copy(update=found)


def write_made(made: Generation, folder: Path, export: ExportConfig) -> None:
    """Write what one call made into a folder that exists: the maps that `export` chooses, or the images alone."""
    if made.maps is None:
        made.write(folder, metadata=export.metadata)
    else:
        _write_maps(made.maps, made.images, folder, export, metadata=export.metadata)


def _write_maps(
    maps: HeatMaps, images: list[Image.Image] | None, folder: Path, export: ExportConfig, *, metadata: bool
) -> None:
    chosen = select(maps, words=export.words, layers=export.layers, steps=export.steps)
    write(
        chosen if export.combine is None else chosen.combine(export.combine),  # type: ignore[arg-type]
        folder,
        image=images,
        alpha=export.alpha,
        colormap=export.colormap,
        formats=export.formats,
        metadata=metadata,
    )


def _parts(source: Path) -> list[Path]:
    """The folder itself, or the folders of its seeds."""
    seeds = sorted(path.parent for path in source.glob("seed_*/maps.json")) if source.is_dir() else []
    return seeds if seeds and not (source / "maps.json").is_file() else [source]
