"""From an image to the config that makes it again."""

from collections.abc import Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from promptattn.config import DTYPES, ModelConfig, RunConfig, load_config, preset_names
from promptattn.config.reading import Option
from promptattn.errors import ConfigError
from promptattn.export.metadata import IN_CONFIG, ImageMetadata, Note, read_image

__all__ = ["config_from_image"]

_LARGEST_OPTION = 1e6


def config_from_image(
    image: str | PathLike[str],
    config: str | PathLike[str] | None = None,
    sets: Sequence[str] = (),
    options: Sequence[Option] = (),
) -> tuple[RunConfig, list[Note]]:
    """The config that makes an image again, and what it cannot do as the image says; see :func:`run_config`.

    What the image says goes over `config`, and under `sets` and `options`. Model and weighting are those that the user
    names anywhere, and else the image's: a preset, or, from our own JSON, a folder that exists. Nothing that an image
    names is fetched from a hub.

    Raises:
        ExportError: when the image cannot be read, or says nothing of how it was made.
        ConfigError: when no model is known, and for values that no run can take; those of the image are told with its
            name.
    """
    read = read_image(image)
    user = load_config(config, sets, options)
    settings, notes = dict(read.settings), list(read.diagnostics)
    notes += _model(read, settings, user, fspath(image))
    if "weighting" in user.model_fields_set:
        notes = [note for note in notes if note.code != "weighting"]
        for name in [name for name in settings if IN_CONFIG[name].startswith("weighting.")]:
            del settings[name]
    if isinstance(settings.get("dtype"), str) and settings["dtype"] not in DTYPES:
        said = f"the image was made in {settings.pop('dtype'):.20}, which is not to be had here"
        notes.append(Note("number-format", said))
    _check_scheduler(settings.get("scheduler"), fspath(image))
    if read.source == "a1111" and "scheduler" not in user.model_fields_set:
        model = user.model if "model" in user.model_fields_set else ModelConfig(name=settings["model"])
        notes += _fitting(settings, model)
    found = [(f"{image}:", IN_CONFIG[name], value) for name, value in settings.items()]
    return load_config(config, sets, options, found=found), notes


def _model(read: ImageMetadata, settings: dict[str, Any], user: RunConfig, image: str) -> Iterator[Note]:
    """Settle which model makes the image: leaves `model` in the settings only if it is the image's."""
    named = settings.get("model")
    if "model" in user.model_fields_set:
        settings.pop("model", None)
        if read.source == "promptattn" and user.model.name != named and settings.pop("scheduler", None):
            yield Note(
                "scheduler",
                f"the image was made by {_shown(named)}, and {user.model.name} keeps its own scheduler; --set"
                " scheduler=... names another",
            )
    elif isinstance(named, str) and named in preset_names():
        return
    elif isinstance(named, str) and read.source == "promptattn" and _is_folder_here(named):
        yield Note("model", f"the model is the folder {named}, which the image names", "info")
    else:
        raise ConfigError(
            f"{image} was made by {_shown(named)}, which is neither a preset ({', '.join(preset_names())}) nor a folder"
            " here, and nothing is fetched because an image names it: say which model to use with --model."
        )


def _check_scheduler(scheduler: Any, image: str) -> None:
    """A scheduler makes tables as long as its options say, so what is far beyond any model's is refused."""
    options = scheduler.get("options") if isinstance(scheduler, dict) else None
    for name, value in options.items() if isinstance(options, dict) else ():
        if isinstance(value, int | float) and abs(value) > _LARGEST_OPTION:
            raise ConfigError(
                f"{image}: scheduler.options.{name}={value!r:.20} is beyond anything that a scheduler takes."
            )


def _fitting(settings: dict[str, Any], model: ModelConfig) -> Iterator[Note]:
    """Drop the scheduler of A1111's sampler where the model has one of another kind, such as flow matching."""
    if "scheduler" not in settings:
        return
    import diffusers

    from promptattn.run.loading.load import load_tokenizers

    _, own = load_tokenizers(model.name, revision=model.revision).config.get("scheduler") or (None, None)
    kind, wanted = getattr(diffusers, str(own), None), settings["scheduler"]["name"]
    if kind is not None and wanted not in {own, *(each.__name__ for each in kind().compatibles)}:
        del settings["scheduler"]
        yield Note(
            "sampler",
            f"the image's sampler is {wanted} here, which does not fit {model.name}; its own {own} is used",
        )


def _is_folder_here(name: str) -> bool:
    """Whether it is a pipeline's folder on this machine's own disks; a name such as //server/share would reach out."""
    if name.startswith(("//", "\\\\")) or "\0" in name:
        return False
    try:
        return (Path(name) / "model_index.json").is_file()
    except (OSError, ValueError):  # too long for a name, or half a surrogate pair
        return False


def _shown(name: Any) -> str:
    return repr(name)[:80] if isinstance(name, str) and name else "a model that it does not name"
