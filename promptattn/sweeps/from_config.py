"""From a config whose prompt is a template to a folder with its sweep."""

from collections.abc import Callable
from pathlib import Path

from promptattn.config import RunConfig
from promptattn.errors import ConfigError
from promptattn.export import atomic_folder
from promptattn.run.cost.estimate import Estimate
from promptattn.run.from_config import load_pipeline, options_of
from promptattn.run.loading.schedulers import check_scheduler
from promptattn.run.recording.record_folders import refuse_stream
from promptattn.sweeps.points import design
from promptattn.sweeps.result import SWEEP_FILE, Sweep
from promptattn.sweeps.running import sweep

__all__ = ["sweep_config"]


def sweep_config(
    config: RunConfig,
    *,
    batch: int,
    limit: int,
    on_stage: Callable[[str], None] = lambda stage: None,
    on_step: Callable[[int, int], None] | None = None,
    on_estimate: Callable[[Estimate], None] | None = None,
) -> tuple[Path, Sweep]:
    """Sweep the config's one prompt, and write `config.export.folder`, whole or not at all; returns both.

    Of `config.export`, `words` are those whose maps are drawn, in place of the swept ones; `alpha` and `colormap` are
    how. Every seed of the config is a seed of the sweep.

    Raises:
        PromptSyntaxError, ConfigError: for a template that cannot be swept, or words to draw without maps; before
            anything is loaded.
        ExportError: when the folder exists or cannot be written; asked before anything is loaded.
        PromptAttnError: whatever :func:`promptattn.sweep` raises.
    """
    template, negative = _only(config.prompt, "prompt"), _only(config.negative_prompt, "negative prompt")
    if template is None:
        raise ConfigError("there is no prompt to sweep: give one on the command line, or as 'prompt' in the config.")
    if config.export.words and config.capture is None:
        raise ConfigError("there are no maps of words to draw without recording any: leave out --no-maps, or --word.")
    refuse_stream(options_of(config)["capture"], "a sweep")
    count = len(config.seed) * config.images
    wanted = design(template, negative, images=count, limit=limit)
    export = config.export
    with atomic_folder(export.folder, force=export.force, marker=SWEEP_FILE) as partial:
        if config.scheduler is not None:
            check_scheduler(config.scheduler.name)
        on_stage(f"Loading {config.model.name}")
        pipe = load_pipeline(config)
        on_stage(f"Making {len(wanted.points) * count} images")
        made = sweep(
            pipe,
            template,
            negative,
            seed=config.seed,
            images=config.images,
            batch=batch,
            limit=limit,
            on_step=on_step,
            on_estimate=on_estimate,
            **options_of(config),
        )
        on_stage("Writing")
        made.write(
            partial,
            words=export.words or (),
            alpha=export.alpha,
            colormap=export.colormap,
            metadata=export.metadata,
        )
    return Path(export.folder), made


def _only(prompts: list[str] | None, what: str) -> str | None:
    if prompts is not None and len(prompts) > 1:
        raise ConfigError(f"a sweep is of one {what}, and the config has {len(prompts)}; choose one.")
    return prompts[0] if prompts else None
