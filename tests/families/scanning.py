"""Every class of pipelines, models and attention processors that the installed diffusers has."""

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import diffusers
import diffusers.models
import diffusers.modular_pipelines
import diffusers.pipelines

DENOISERS = (
    "diffusers.models.controlnets",
    "diffusers.models.transformers",
    "diffusers.models.unets",
    "diffusers.pipelines",
)


@functools.cache
def modules() -> tuple[ModuleType, ...]:
    """All modules of models and pipelines that can be imported: some are scripts that need a codec or the like."""
    found = []
    for root in (diffusers.models, diffusers.modular_pipelines, diffusers.pipelines):
        for each in pkgutil.walk_packages(root.__path__, f"{root.__name__}."):
            try:
                found.append(importlib.import_module(each.name))
            except ImportError:
                assert not each.name.rpartition(".")[2].startswith("pipeline_"), f"{each.name} cannot be imported"
    return tuple(found)


def classes(wanted: Callable[[type], bool]) -> list[type]:
    """The classes that answer to this, each in the module that defines it."""
    return [
        cls
        for module in modules()
        for cls in vars(module).values()
        if inspect.isclass(cls) and cls.__module__ == module.__name__ and wanted(cls)
    ]


def pipelines() -> list[type]:
    bases = ("diffusers.pipelines.pipeline_utils", "diffusers.modular_pipelines.modular_pipeline")
    kinds = (diffusers.DiffusionPipeline, diffusers.ModularPipeline)
    return classes(lambda cls: issubclass(cls, kinds) and cls.__module__ not in bases)


def denoisers() -> list[type]:
    """Models that denoise, or are a part of one that does: those that are told the time, and all beside them."""
    return classes(
        lambda cls: issubclass(cls, diffusers.ModelMixin) and cls.__module__.startswith(DENOISERS) and _is_timed(cls)
    )


def _is_timed(cls: Any) -> bool:
    """Whether it is told the time, or stands where denoisers stand. Encoders and connectors stand by their pipeline."""
    beside_a_pipeline = cls.__module__.startswith("diffusers.pipelines.")
    return not beside_a_pipeline or bool(
        {"timestep", "timestep_img", "r"} & {*inspect.signature(cls.forward).parameters}
    )


def processors() -> list[type]:
    """Classes whose objects are called with an attention layer; there are also some that store what `attn` came to."""

    def is_processor(cls: type) -> bool:
        given = list(_called_with(cls))
        return given[:1] == ["attn"] and "is_cross" not in given

    return classes(is_processor)


def _called_with(cls: type) -> Iterator[str]:
    own = next((vars(each)["__call__"] for each in cls.__mro__ if "__call__" in vars(each)), None)
    if inspect.isfunction(own):
        yield from list(inspect.signature(inspect.unwrap(own)).parameters)[1:]


def parts(pipeline: type) -> list[str]:
    """The names of the classes that a pipeline is made of, as it says itself."""
    annotations = [parameter.annotation for parameter in inspect.signature(pipeline.__init__).parameters.values()]
    written = [each if isinstance(each, str) else getattr(each, "__name__", None) or str(each) for each in annotations]
    return [name.strip(" '\"").rpartition(".")[2] for each in written for name in each.strip("[]").split("|")]
