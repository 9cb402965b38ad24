"""The packages that promptattn needs, those of its extras, and whether their versions fit."""

import importlib
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Any

from promptattn import __version__
from promptattn.doctor.checks import Check, install

__all__ = ["look_at_packages", "look_at_python"]

_GROUP = "packages"
_OLDEST = (3, 11)
# Not for users of promptattn but for those who change it.
_OF_DEVELOPERS = ("dev", "test", "bench", "browser", "docs")
_GIVES = {
    "plot": "figures of maps (run.maps.plot())",
    "app": "the app in the browser (promptattn app)",
}
# Asked for by name because the rest of the doctor works with them; a package can be there and not load.
_LOADED = ("torch", "diffusers", "transformers", "accelerate")


def look_at_python() -> Iterator[Check]:
    """The interpreter and promptattn itself."""
    running = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info[:2] < _OLDEST
    wanted = ".".join(map(str, _OLDEST))
    yield Check(
        "python",
        "python",
        "broken" if old else "fine",
        f"{running} on {platform.system()} {platform.machine()}",
        f"install Python {wanted} or newer" if old else "",
    )
    yield Check("python", "promptattn", "fine", __version__)


def look_at_packages() -> Iterator[Check]:
    """What is needed, whether it loads, and what the extras would add."""
    from packaging.requirements import Requirement

    try:
        declared = [Requirement(each) for each in requires("promptattn") or ()]
        extras = metadata("promptattn").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        yield Check(_GROUP, "promptattn", "broken", "is not installed, only found", "pip install -e . in its checkout")
        return
    for need in declared:
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            yield _needed(need)
    for name in _LOADED:
        yield from _loads(name)
    for extra in extras:
        if extra not in _OF_DEVELOPERS:
            own = [need for need in declared if need.marker is not None and need.marker.evaluate({"extra": extra})]
            plain = [need for need in own if not need.marker.evaluate({"extra": ""})]  # type: ignore[union-attr]
            yield _extra(extra, plain)


def _needed(need: Any) -> Check:
    there = _version(need.name)
    if there is None:
        return Check(_GROUP, need.name, "broken", "is not installed", f"pip install '{_spec(need)}'")
    if not need.specifier.contains(there, prereleases=True):
        return Check(
            _GROUP, need.name, "broken", f"{there}, and {_spec(need)} is needed", f"pip install '{_spec(need)}'"
        )
    return Check(_GROUP, need.name, "fine", there)


def _loads(name: str) -> Iterator[Check]:
    """Says so where an installed package cannot be loaded."""
    if _version(name) is None:
        return
    try:
        importlib.import_module(name)
    # A broken installation raises whatever its first broken part raises: OSError for a library that does not fit.
    except Exception as error:
        said = f"is installed and does not load: {type(error).__name__}: {error}"
        again = f"pip install --force-reinstall {name}"
        advice = install(error) if isinstance(error, ModuleNotFoundError) else again
        yield Check(_GROUP, name, "broken", said, advice)


def _extra(name: str, needs: list[Any]) -> Check:
    lacking = [need.name for need in needs if not _fits(need)]
    gives = _GIVES.get(name, name)
    if not lacking:
        return Check("extras", name, "fine", gives)
    return Check(
        "extras", name, "absent", f"{gives}: without {', '.join(lacking)}", f"pip install 'promptattn[{name}]'"
    )


def _fits(need: Any) -> bool:
    there = _version(need.name)
    return there is not None and need.specifier.contains(there, prereleases=True)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _spec(need: Any) -> str:
    return f"{need.name}{need.specifier}"
