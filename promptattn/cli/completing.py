"""What Tab completes of an option's value; asked of the settings themselves, and only when Tab is pressed."""

from collections.abc import Callable, Iterable

__all__ = ["devices", "dtypes", "methods", "models", "places", "syntaxes"]


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
devices = _starting(_devices)
dtypes = _starting(_dtypes)
