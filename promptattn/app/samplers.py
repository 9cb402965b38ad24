"""Samplers by the names that people know them by, for the schedulers of a model that its own can give way to."""

from collections.abc import Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from promptattn.export.metadata.samplers import SAMPLERS, scheduler_for, written_as
from promptattn.run.loading.load import load_scheduler
from promptattn.run.loading.schedulers import scheduler_settings, set_scheduler

__all__ = ["OWN", "changed_options", "sampler_of", "samplers", "scheduler_of"]

OWN = "the model's own"
"""The sampler that is no choice."""

_KARRAS = "Karras"


@lru_cache(maxsize=8)
def samplers(model: str) -> tuple[str, ...]:
    """What can be chosen for a model: `OWN`, samplers such as `DPM++ 2M Karras`, and classes that have no such name.

    Raises:
        UnsupportedModelError: when the model's scheduler cannot be had.
    """
    own = load_scheduler(model)
    if not hasattr(own, "compatibles"):
        return (OWN,)
    fitting = {type(own).__name__, *(each.__name__ for each in own.compatibles if not hasattr(each, "_backends"))}
    named = {name: each for name, each in SAMPLERS.items() if each.scheduler in fitting and not each.differs}
    bent = [f"{name} {_KARRAS}" for name, each in named.items() if each.bent]
    return (OWN, *sorted([*named, *bent]), *sorted(fitting - {each.scheduler for each in named.values()}))


def scheduler_of(sampler: str) -> tuple[str, Mapping[str, Any]]:
    """The class that a sampler other than `OWN` is, and the options that make it so."""
    found, _ = scheduler_for(sampler, None)
    return (found["name"], found["options"]) if found else (sampler, {})


def sampler_of(scheduler: Mapping[str, Any]) -> str:
    """What a scheduler, given as its class's `name` and its `options`, is called here."""
    name, schedule = written_as(scheduler)
    if name not in SAMPLERS or SAMPLERS[name].scheduler != scheduler.get("name"):
        return str(scheduler.get("name"))
    return f"{name} {schedule}" if schedule == _KARRAS else name


def changed_options(model: str, sampler: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a scheduler's options that are others when the model runs with this sampler."""
    like = SimpleNamespace(scheduler=load_scheduler(model))
    if sampler != OWN:
        set_scheduler(like, *scheduler_of(sampler))
    here = scheduler_settings(like)["options"]
    return {name: value for name, value in options.items() if here.get(name) != value}
