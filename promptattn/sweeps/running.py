"""`sweep`: one image for every point of a template, all from the same seeds."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from promptattn.errors import CaptureError, ConfigError
from promptattn.prompt import parse
from promptattn.run.cost.estimate import Estimate, first_of
from promptattn.run.generate import Generation, generate
from promptattn.run.loading.load import load
from promptattn.run.progress import overall
from promptattn.run.recording.record_folders import refuse_stream
from promptattn.run.together import shape_of
from promptattn.sweeps.cells import Cell
from promptattn.sweeps.points import Point, design
from promptattn.sweeps.result import Sweep
from promptattn.sweeps.swept import subject_of

__all__ = ["sweep"]

# What sweep() gives to generate() itself.
_OWN = ("pipe_or_name", "prompt", "negative_prompt", "seed", "num_images_per_prompt", "on_step", "on_estimate")
_USUAL_STEPS = 50  # of which a schedule is thought where the pipeline chooses


def sweep(
    pipe_or_name: Any,
    template: str,
    negative_prompt: str | None = None,
    *,
    seed: int | Sequence[int] = 0,
    images: int = 1,
    batch: int = 4,
    limit: int = 64,
    on_step: Callable[[int, int], None] | None = None,
    on_estimate: Callable[[Estimate], None] | None = None,
    **options: Any,
) -> Sweep:
    """Make the image of every value that stands in braces in a prompt, all else alike.

        promptattn.sweep("shapes", "a (red:{0.5..2.0:0.25}) cat", seed=7).save("sweep")
        promptattn.sweep("shapes", "un (gato:{1,2}) {rojo,azul}", images=2)

    Args:
        pipe_or_name: a pipeline, or whatever :func:`promptattn.load` takes.
        template: a prompt with one or two sweeps, in any syntax: `{0.5..2.0:0.25}` or `{red,blue}`; the first gives the
            rows of the grid. See :mod:`promptattn.sweeps.template`.
        negative_prompt: likewise; sweeps in both prompts count together.
        seed: of the first image of every point, or several seeds.
        images: how many images of each point, with seeds counting up.
        batch: how many images to make in one call of the pipeline. What comes out does not depend on it, but for what a
            batch rounds differently.
        limit: refuse to make more images than this.
        on_step: called with (steps done, steps in all) after each.
        on_estimate: called once, after the second step, with what all calls take of memory and time.
        options: all else that :func:`promptattn.generate` takes.

    Raises:
        PromptSyntaxError, ConfigError: for a template or an option that cannot be, before anything is loaded.
        PromptAttnError: whatever `generate` raises.
    """
    _check_options(options)
    seeds = _seeds(seed, images)
    if batch < 1:
        raise ConfigError(f"batch={batch} must be at least 1.")
    wanted = design(template, negative_prompt, images=len(seeds), limit=limit)
    syntax = str(options.get("syntax", "a1111"))
    for point in wanted.points:
        parse(point.prompt, syntax)  # an unknown syntax is refused before a model is loaded
    pipe = load(pipe_or_name) if isinstance(pipe_or_name, str | PathLike) else pipe_or_name
    jobs = [_Job(point, each) for each in seeds for point in wanted.points]
    batches = _batches(pipe, jobs, batch, options)
    made: dict[_Job, Cell] = {}
    settings: dict[str, Any] = {}
    for number, group in enumerate(batches):
        told = {
            "on_step": overall(on_step, number, len(batches)),
            "on_estimate": first_of(on_estimate, number, len(batches)),
        }
        generation = _made(pipe, group, {**options, **told})
        settings = settings or generation.settings
        for index, job in enumerate(group):
            maps = None if generation.maps is None else generation.maps.image(index)
            made[job] = Cell(job.point, job.seed, generation.images[index], maps)
    steps = int(settings.get("num_inference_steps") or _USUAL_STEPS)
    subjects = tuple(subject_of(wanted, axis, syntax, steps) for axis in range(len(wanted.axes)))
    common = {name: value for name, value in settings.items() if name not in _OWN}
    return Sweep(wanted, subjects, tuple(made[job] for job in jobs), seeds, common)


@dataclass(frozen=True)
class _Job:
    point: Point
    seed: int


def _check_options(options: dict[str, Any]) -> None:
    known = [name for name in inspect.signature(generate).parameters if name not in _OWN]
    if unknown := [name for name in options if name not in known]:
        raise ConfigError(f"sweep() has no option {unknown[0]!r}; those of generate() are {', '.join(known)}.")
    refuse_stream(options.get("capture", False), "a sweep")


def _seeds(seed: int | Sequence[int], images: int) -> tuple[int, ...]:
    if images < 1:
        raise ConfigError(f"images={images} must be at least 1.")
    firsts = list(seed) if isinstance(seed, Sequence) else [seed]
    seeds = tuple(first + index for first in firsts for index in range(images))
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"the seeds {list(seeds)} are none, or not all different; give each once.")
    return seeds


def _batches(pipe: Any, jobs: Sequence[_Job], size: int, options: Mapping[str, Any]) -> list[list[_Job]]:
    """Jobs that can share a call without changing each other."""
    known: dict[str, Any] = {
        "steps": options.get("num_inference_steps"),
        "syntax": str(options.get("syntax", "a1111")),
        "max_sequence_length": options.get("max_sequence_length"),
    }
    points = dict.fromkeys(job.point for job in jobs)
    shapes = {point: shape_of(pipe, point.prompt, point.negative, **known) for point in points}
    together: dict[Any, list[_Job]] = {}
    for job in jobs:
        together.setdefault(shapes[job.point] or job, []).append(job)
    return [alike[first : first + size] for alike in together.values() for first in range(0, len(alike), size)]


def _made(pipe: Any, group: Sequence[_Job], options: dict[str, Any]) -> Generation:
    try:
        return generate(
            pipe,
            [job.point.prompt for job in group],
            None if group[0].point.negative is None else [job.point.negative or "" for job in group],
            seed=[job.seed for job in group],
            **options,
        )
    except CaptureError as error:
        # A word to watch that not every value of a sweep has: the message names the words of one prompt.
        raise CaptureError(f"{error} (in {group[0].point.prompt!r})") from error
