"""`generate`: from a prompt to images and maps in one call."""

import inspect
import json
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptattn.denoisers import denoiser_of
from promptattn.discovery import layout_for
from promptattn.errors import CaptureError, ConfigError
from promptattn.maps import HeatMaps
from promptattn.maps.capture import Capture
from promptattn.prompt import Prompt
from promptattn.run.attend import attend
from promptattn.run.cost.estimate import Estimate, Estimator
from promptattn.run.cost.shortage import memory_told
from promptattn.run.denoiser import Rows
from promptattn.run.loading.load import load, recommended
from promptattn.run.loading.schedulers import scheduler_settings
from promptattn.run.sizes import as_asked, pixels_per_latent
from promptattn.run.steps import step_of_call
from promptattn.run.text.written import prompts_written
from promptattn.selection import Steps
from promptattn.telling import tell
from promptattn.weighting import Method, Strength, chosen

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MARKERS", "Generation", "check_numbers", "generate"]

SETTINGS = "settings.json"
# A folder that holds one of these was written here, so that replacing it destroys nothing else.
MARKERS = ("maps.json", SETTINGS)

_NUMBERS = ("num_inference_steps", "guidance_scale", "true_cfg_scale")


@dataclass(frozen=True, eq=False)
class Generation:
    """What one call made.

    Attributes:
        images: PIL images, all images of the first prompt first.
        maps: the maps of all images, or None with `capture=False`.
        seed: the seed of the first image; image i was made with `seed + i`, unless each was given a seed of its own:
            then `settings["seed"]` lists them.
        settings: everything that is needed to make the images again.
    """

    images: list["Image"]
    maps: HeatMaps | None
    seed: int
    settings: dict[str, Any]

    def save(self, folder: str | PathLike[str], *, force: bool = False, metadata: bool = True) -> Path:
        """Write images, maps and viewer to a folder, whole or not at all; see :func:`promptattn.export.save`.

        With `metadata` each image holds how it was made; see :func:`promptattn.export.write_image`.

        Raises:
            ExportError: if the folder exists (and is not to be replaced with `force`) or cannot be written.
        """
        from promptattn.export import atomic_folder

        with atomic_folder(folder, force=force, marker=MARKERS) as partial:
            self.write(partial, metadata=metadata)
        return Path(folder)

    def write(self, folder: Path, *, metadata: bool = True) -> None:
        """What `save` writes, into a folder that exists."""
        from promptattn.export import write

        if self.maps is not None:
            write(self.maps, folder, image=self.images, metadata=metadata)
            return
        for index in range(len(self.images)):
            name = "image.png" if len(self.images) == 1 else f"image_{index}.png"
            self.save_image(folder / name, index, metadata=metadata)
        text = json.dumps(self.settings, ensure_ascii=False, indent=2)
        # A lone surrogate, which a prompt may hold, has no UTF-8; its backslash form is what JSON writes for it.
        (folder / SETTINGS).write_bytes(text.encode("utf-8", "backslashreplace"))

    def _repr_html_(self) -> str:
        """What a notebook shows: the viewer, or the images alone where no maps were recorded."""
        from promptattn.export.viewer import in_notebook, pictures_in_notebook, shown_images

        if self.maps is None:
            return pictures_in_notebook(self.images)
        return in_notebook(shown_images(self.maps, self.images))

    def save_image(self, path: str | PathLike[str], index: int = 0, *, metadata: bool = True, **options: Any) -> Path:
        """Save one image as PNG, JPEG or WebP, with how it was made; see :func:`promptattn.export.write_image`.

        `options` are those of Pillow's `save`, such as `quality`.

        Raises:
            ExportError: for other kinds of files with `metadata`, and for settings that are too long for a JPEG.
        """
        from promptattn.export import write_image

        write_image(self.images[index], path, self.settings if metadata else None, index, **options)
        return Path(path)


def generate(
    pipe_or_name: Any,
    prompt: str | Prompt | Sequence[str | Prompt],
    negative_prompt: str | Prompt | Sequence[str | Prompt] | None = None,
    *,
    seed: int | Sequence[int] = 0,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    true_cfg_scale: float | None = None,
    height: int | None = None,
    width: int | None = None,
    num_images_per_prompt: int = 1,
    syntax: str = "a1111",
    weighting: str | Method = "attention",
    where: str = "auto",
    strength: Strength = None,
    layers: Sequence[str] | str | None = None,
    weight_steps: Steps = None,
    rows: Rows = "image",
    capture: Capture | bool = True,
    clip_skip: int | None = None,
    max_sequence_length: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_estimate: Callable[[Estimate], None] | None = None,
) -> Generation:
    """Make images from a weighted prompt, with the maps of every word.

        promptattn.generate("shapes", "un gato (rojo:1.4) persigue a un ratón gris", seed=7)

    Args:
        pipe_or_name: a pipeline, or whatever :func:`load` takes.
        seed: each image i of the call has a generator of its own, seeded with `seed + i`, so that it can be made alone;
            or one seed for each image, in the order of `Generation.images`.
        num_inference_steps, guidance_scale, true_cfg_scale, height, width: the pipeline's own; None is what suits the
            preset, or else the pipeline's default. Flux reads a negative prompt with a true_cfg_scale above 1 only.
        weight_steps: the steps in which weights act.
        on_step: called with (steps done, steps in all) after each.
        on_estimate: called once, after the second step, with what the call takes of memory and time.
        syntax, weighting, where, strength, layers, rows, capture, clip_skip, max_sequence_length: see :func:`attend`.

    Raises:
        ConfigError: for numbers that no pipeline can take, before anything is loaded or run; and when memory runs out,
            with the options that would take less.
        PromptAttnError: whatever :func:`load` and :func:`attend` raise.
    """
    import torch

    for each in seed if isinstance(seed, Sequence) else [seed]:
        check_numbers(each, num_inference_steps, guidance_scale, height, width, num_images_per_prompt, true_cfg_scale)
    pipe = load(pipe_or_name) if isinstance(pipe_or_name, str | PathLike) else pipe_or_name
    _check_steps(pipe, num_inference_steps)
    suited = dict(recommended(pipe))
    suited_length = suited.pop("max_sequence_length", None)
    text_length = suited_length if max_sequence_length is None else max_sequence_length
    run = attend(
        pipe,
        prompt,
        negative_prompt,
        syntax=syntax,
        weighting=weighting,
        where=where,
        strength=strength,
        layers=layers,
        steps=weight_steps,
        rows=rows,
        capture=capture,
        clip_skip=clip_skip,
        max_sequence_length=text_length,
        num_images_per_prompt=num_images_per_prompt,
    )
    _check_size(pipe, height, width)
    seeds = _seeds(seed, len(run.plans) * num_images_per_prompt)
    estimator = None if on_estimate is None else Estimator(pipe, run, len(seeds), on_estimate)
    given = {
        "num_inference_steps": num_inference_steps,
        "guidance_scale": guidance_scale,
        "true_cfg_scale": true_cfg_scale,
        "height": height,
        "width": width,
        "callback_on_step_end": _progress([each for each in (estimator and estimator.step, on_step) if each]),
    }
    options = _applicable(pipe, suited | {name: value for name, value in given.items() if value is not None})
    if negative_prompt is not None:
        _check_negative(pipe, options)
    with run, estimator or nullcontext(), memory_told(pipe, len(seeds), capture):
        images = pipe(
            **run.inputs,
            **options,
            **as_asked(pipe),
            generator=[torch.Generator("cpu").manual_seed(each) for each in seeds],
        ).images
    _tell_of_size(pipe, images[0], height, width)
    _tell_of_no_guidance(pipe, guidance_scale)
    settings = {
        **prompts_written(prompt, negative_prompt, syntax, len(run.plans)),
        "seed": seeds if isinstance(seed, Sequence) else seed,
        **_defaults(pipe),
        **{name: value for name, value in options.items() if name != "callback_on_step_end"},
        "height": images[0].height,
        "width": images[0].width,
        "num_images_per_prompt": num_images_per_prompt,
        **_method_written(chosen(weighting, where, strength)),
        "rows": rows,
        "layers": layers if layers is None or isinstance(layers, str) else list(layers),
        "weight_steps": _steps_written(weight_steps),
        "clip_skip": clip_skip,
        "max_sequence_length": text_length,
        "model": str(pipe.config.get("_name_or_path", "") or type(pipe).__name__),
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "scheduler": scheduler_settings(pipe),
    }
    run.annotate(settings)
    maps = _maps(run, settings) if capture else None
    return Generation(list(images), maps, seeds[0], settings)


def _defaults(pipe: Any) -> dict[str, Any]:
    """The pipeline's own numbers, which hold where none are given: a newer diffusers may have others."""
    parameters = inspect.signature(type(pipe).__call__).parameters
    found = {name: parameters[name].default for name in _NUMBERS if name in parameters}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _method_written(method: Method) -> dict[str, Any]:
    """The method's name and its own options: those of the arguments, or of the config's section."""
    options = {name: value for name, value in asdict(method).items() if name not in ("method", "rule")}
    return {"weighting": method.name, **options}


def _steps_written(steps: Steps) -> Any:
    """As in a config: a range of steps is no list of two."""
    if isinstance(steps, tuple) and len(steps) == 2:
        return {"start": steps[0], "stop": steps[1]}
    return None if steps is None else sorted(steps)


def _seeds(seed: int | Sequence[int], images: int) -> list[int]:
    """The seed of each image."""
    if not isinstance(seed, Sequence):
        return [seed + index for index in range(images)]
    if len(seed) != images:
        raise ConfigError(f"there are {images} images but {len(seed)} seeds; give one seed for all, or one for each.")
    return list(seed)


def _applicable(pipe: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that the pipeline's own call takes; says which of the others have no effect."""
    parameters = inspect.signature(type(pipe).__call__).parameters
    taken = {name: value for name, value in options.items() if name in parameters}
    for name in options.keys() - taken.keys() - {"callback_on_step_end"}:
        tell(f"{type(pipe).__name__} has no {name}, so {name}={options[name]} does nothing.")
    guidance = taken.get("guidance_scale")
    config = getattr(getattr(pipe, "transformer", None), "config", {})
    # A pipeline with true_cfg_scale only hands guidance_scale to the model as an input, and not every model reads it.
    if guidance and "true_cfg_scale" in parameters and config.get("guidance_embeds") is False:
        tell(
            f"{type(pipe).__name__}: this model takes no guidance as input, so guidance_scale={guidance} does nothing."
        )
    return taken


def _check_negative(pipe: Any, options: dict[str, Any]) -> None:
    true_cfg = inspect.signature(type(pipe).__call__).parameters.get("true_cfg_scale")
    if true_cfg is not None and options.get("true_cfg_scale", true_cfg.default) <= 1:
        tell(f"{type(pipe).__name__} reads a negative prompt only with a true_cfg_scale above 1; here it does nothing.")


def _maps(run: Any, settings: dict[str, Any]) -> HeatMaps:
    try:
        maps: HeatMaps = run.maps
    except CaptureError as error:
        raise CaptureError(f"the image was made, but {error}") from error
    return replace(maps, meta={**maps.meta, **settings})


def _progress(told: Sequence[Callable[[int, int], None]]) -> Any:
    if not told:
        return None

    def callback(pipe: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        done, last = (step_of_call(call, pipe.scheduler) for call in (step, pipe.num_timesteps - 1))
        for each in told:
            each(done + 1, last + 1)
        return kwargs

    return callback


def check_numbers(
    seed: int,
    steps: int | None,
    guidance: float | None,
    height: int | None,
    width: int | None,
    images: int,
    true_cfg: float | None = None,
) -> None:
    """Raise ConfigError for numbers that no pipeline can take; cheap, so it can be asked before anything is loaded."""
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed={seed} must lie between 0 and 2**63 - 1.")
    if steps is not None and steps < 1:
        raise ConfigError(f"{steps} steps make no image; the number of steps must be at least 1.")
    for name, scale in (("guidance_scale", guidance), ("true_cfg_scale", true_cfg)):
        if scale is not None and not math.isfinite(scale):
            raise ConfigError(f"{name}={scale} must be a finite number.")
    if images < 1:
        raise ConfigError(f"num_images_per_prompt={images} must be at least 1.")
    for name, size in (("height", height), ("width", width)):
        if size is not None and size < 1:
            raise ConfigError(f"{name}={size} must be a positive number of pixels.")


def _check_steps(pipe: Any, steps: int | None) -> None:
    most = getattr(getattr(getattr(pipe, "scheduler", None), "config", None), "num_train_timesteps", None)
    if steps is not None and most is not None and steps > most:
        raise ConfigError(f"{steps} steps are more than the {most} timesteps that this model was trained with.")


def _tell_of_no_guidance(pipe: Any, guidance: float | None) -> None:
    """That less than 1 is none, as the pipeline has decided; 0 is how none is asked for."""
    if guidance and guidance < 1 and getattr(pipe, "do_classifier_free_guidance", None) is False:
        tell(
            f"guidance_scale={guidance:g} guides no more than 1 does: {type(pipe).__name__} ran without guidance and"
            " without a negative prompt."
        )


def _tell_of_size(pipe: Any, made: Any, height: int | None, width: int | None) -> None:
    """HiDream brings every size to about one area."""
    if height not in (None, made.height) or width not in (None, made.width):
        asked = f"{width or made.width} x {height or made.height}"
        tell(
            f"{type(pipe).__name__} made pictures of {made.width} x {made.height} and not of {asked}, by its own rule."
        )


def _check_size(pipe: Any, height: int | None, width: int | None) -> None:
    """The stock pipelines round some sizes without a word and refuse others; say it before running."""
    # The pipelines check for multiples of 8, whatever their VAE. UNets take odd latents, transformers whole patches.
    denoiser = denoiser_of(pipe)
    patch = 1 if getattr(pipe, "transformer", None) is None else layout_for(pipe, denoiser).patch(denoiser)
    unit = math.lcm(8, pixels_per_latent(pipe) * patch)
    for name, size in (("height", height), ("width", width)):
        if size is not None and size % unit:
            near = max(unit, round(size / unit) * unit)
            raise ConfigError(
                f"{name}={size} is not a size this model can take: it must be a multiple of {unit}, such as {near}."
            )
