"""Another scheduler for a pipeline, by the name of its diffusers class."""

import inspect
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from promptattn.config.values import nearest
from promptattn.errors import ConfigError
from promptattn.run.loading.hub import first_line

__all__ = ["check_scheduler", "scheduler_settings", "set_scheduler"]


def check_scheduler(name: str) -> None:
    """Raise ConfigError when diffusers has no scheduler class `name`; cheap, so it can be asked before loading."""
    import diffusers
    from diffusers import SchedulerMixin

    found = getattr(diffusers, name, None)
    if not (inspect.isclass(found) and (issubclass(found, SchedulerMixin) or hasattr(found, "_backends"))):
        close = _nearest(name, [each for each in dir(diffusers) if each.endswith("Scheduler")])
        known = close or "; give the name of a class, such as DDIMScheduler."
        raise ConfigError(f"scheduler: diffusers has no scheduler {name!r}{known}")


def set_scheduler(pipe: Any, name: str, options: Mapping[str, Any]) -> None:
    """Give the pipeline a scheduler of class `name`, with its own scheduler's settings and these `options` over them.

    Raises:
        ConfigError: for a class that diffusers does not declare compatible with the pipeline's own scheduler, for
            options that the class does not have, and for values that it does not take.
    """
    check_scheduler(name)
    own = type(pipe.scheduler)
    fitting = {each.__name__: each for each in (own, *pipe.scheduler.compatibles)}
    if name not in fitting:
        these = ", ".join(sorted(fitting))
        raise ConfigError(
            f"scheduler: {name} does not fit {type(pipe).__name__}, whose {own.__name__} can only give way to {these}"
            f"{_nearest(name, fitting) or '.'}"
            if len(fitting) > 1
            else f"scheduler: {name} does not fit {type(pipe).__name__}; it works with its own {own.__name__} only."
        )
    known = [each for each in inspect.signature(fitting[name].__init__).parameters if each not in ("self", "kwargs")]
    for option in options:
        # A class whose library is not installed takes anything, and says so when it is made.
        if option not in known and not hasattr(fitting[name], "_backends"):
            close = nearest(option, known)
            meant = f"; did you mean {close}?" if close else f"; it has {', '.join(known)}."
            raise ConfigError(f"scheduler.options: {name} has no option {option!r}{meant}")
    try:
        pipe.scheduler = fitting[name].from_config(pipe.scheduler.config, **options)
    except Exception as error:
        raise ConfigError(f"scheduler: {name} cannot be made: {first_line(error)}.") from error


def scheduler_settings(pipe: Any) -> dict[str, Any]:
    """The pipeline's scheduler as `name` and `options`, with which `set_scheduler` makes it again.

    An infinite option, which JSON has no number for, is left out: it is a class's default (`lambda_min_clipped`).
    """
    scheduler = pipe.scheduler
    known = inspect.signature(type(scheduler).__init__).parameters
    options = {name: value for name, value in scheduler.config.items() if name in known and _in_json(value)}
    return {"name": type(scheduler).__name__, "options": options}


def _in_json(value: Any) -> bool:
    try:
        return bool(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return False


def _nearest(name: str, known: Collection[str]) -> str:
    """Which of `known` was meant. Every name ends in Scheduler, so that part likens nothing."""
    short = {each.removesuffix("Scheduler"): each for each in known}
    core = re.sub(r"sched\w*$", "", name, flags=re.IGNORECASE)
    begins = sorted((each for each in short if core and each.lower().startswith(core.lower())), key=len)
    # A misspelt beginning is like the beginnings of names; of those that begin alike the shortest is meant.
    heads = {each[: len(core) + 1]: each for each in sorted(short, key=len, reverse=True)}
    close = begins[0] if begins else heads.get(nearest(core, heads), "")
    return f"; did you mean {short[close]}?" if close else ""
