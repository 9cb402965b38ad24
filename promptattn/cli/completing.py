"""What Tab completes of an option's value; asked of the settings themselves, and only when Tab is pressed."""

import re
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

__all__ = [
    "colormaps",
    "devices",
    "dtypes",
    "formats",
    "methods",
    "models",
    "places",
    "rules",
    "schedulers",
    "settings",
    "syntaxes",
]


def _starting(values: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """A completion that offers those of the values that begin with what is typed."""

    def offered(incomplete: str) -> list[str]:
        return [value for value in values() if value.startswith(incomplete)]

    return offered


def _models() -> Iterable[str]:
    from promptattn.config import preset_names

    return preset_names()


def _methods() -> Iterable[str]:
    from promptattn.weighting import METHODS

    return METHODS


def _places() -> Iterable[str]:
    from promptattn.weighting import PLACES

    return PLACES


def _syntaxes() -> Iterable[str]:
    from promptattn.prompt.parsing import SYNTAXES

    return sorted(SYNTAXES)


def _formats() -> Iterable[str]:
    from promptattn.export.formats import FORMATS

    return FORMATS


def _colormaps() -> Iterable[str]:
    from promptattn.maps.colormap import COLORMAPS

    return COLORMAPS


def _rules() -> Iterable[str]:
    from promptattn.maps.combination import RULES

    return RULES


def _schedulers() -> Iterable[str]:
    """Read from the names in diffusers' files: to import it would take seconds."""
    found = find_spec("diffusers")
    folders = [Path(place) / "schedulers" for place in (found.submodule_search_locations or ())] if found else []
    texts = (file.read_text(encoding="utf-8") for folder in folders for file in folder.glob("scheduling_*.py"))
    names = {name for text in texts for name in re.findall(r"^class (\w+Scheduler)\(", text, re.MULTILINE)}
    return sorted(name for name in names if not name.startswith(("Base", "Flax")))


def _settings() -> Iterable[str]:
    from promptattn.config import setting_paths

    return [f"{path}=" for path in setting_paths()]


def _devices() -> Iterable[str]:
    from promptattn.config import DEVICES

    return DEVICES


def _dtypes() -> Iterable[str]:
    from promptattn.config import DTYPES

    return DTYPES


models = _starting(_models)
methods = _starting(_methods)
places = _starting(_places)
syntaxes = _starting(_syntaxes)
formats = _starting(_formats)
colormaps = _starting(_colormaps)
rules = _starting(_rules)
schedulers = _starting(_schedulers)
settings = _starting(_settings)
devices = _starting(_devices)
dtypes = _starting(_dtypes)
