"""The API reference, docs/api.md, from the docstrings of everything public.

python scripts/api_reference.py                 # writes docs/api.md
python scripts/api_reference.py --check         # says whether it is as the docstrings are
"""

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import promptattn

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
ROOMS = (
    "promptattn.prompt",
    "promptattn.maps",
    "promptattn.export",
    "promptattn.records",
    "promptattn.config",
    "promptattn.batch",
    "promptattn.weighting",
    "promptattn.processors",
    "promptattn.discovery",
    "promptattn.core",
)
LONG = 60  # characters of a default

_ROLE = re.compile(r":(?:func|class|data|meth|mod|attr):(?=`)")


def page() -> str:
    parts = [
        "# API reference\n",
        "Made from the docstrings by `python scripts/api_reference.py`. Names of the first section are imported from"
        " `promptattn` itself, and are not said again under the package that they come from.\n",
        "## promptattn\n",
        *(entry(name, getattr(promptattn, name)) for name in promptattn.__all__),
    ]
    told = {id(getattr(promptattn, name)) for name in promptattn.__all__}
    for room in ROOMS:
        module = import_module(room)
        parts.append(f"## {room}\n\n{_text(inspect.getdoc(module))}\n")
        parts += [
            entry(name, getattr(module, name)) for name in module.__all__ if id(getattr(module, name)) not in told
        ]
    return "\n".join(parts)


def entry(name: str, thing: Any) -> str:
    """One public name: how it is called, what its docstring says, and its public methods."""
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return f"### {name}\n\n`{_shown(thing)}`\n"
    lines = [f"### {name}\n", f"`{name}{_signature(thing)}`\n", _text(inspect.getdoc(thing)), ""]
    if inspect.isclass(thing) and not issubclass(thing, BaseException | Warning):
        lines += list(_members(thing))
    return "\n".join(lines)


def _members(kind: type) -> Iterator[str]:
    for name, member in vars(kind).items():
        function = getattr(member, "__func__", member)
        if name.startswith("_") or not function.__doc__:
            continue
        if inspect.isfunction(function):
            yield f"- **`{name}{_signature(function, method=True)}`** {_first(function)}"
        elif isinstance(member, property) or type(member).__name__ == "cached_property":
            yield f"- **`{name}`** {_first(member)}"
    yield ""


def _signature(thing: Any, *, method: bool = False) -> str:
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return "(...)"
    # Types stand in the source; here they would hide the names.
    plain = [
        parameter.replace(annotation=inspect.Parameter.empty, default=_default(parameter.default))
        for parameter in signature.parameters.values()
        if not (method and parameter.name in ("self", "cls"))
    ]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def _default(value: Any) -> Any:
    """A default as it is shown: `...` for what has no short name, such as a lambda or a nested config."""
    nothing = value is inspect.Parameter.empty or value is None
    return value if nothing or (len(repr(value)) <= LONG and "<function" not in repr(value)) else _Dots()


class _Dots:
    def __repr__(self) -> str:
        return "..."


def _first(thing: Any) -> str:
    """The first sentence of a docstring."""
    return _ROLE.sub("", " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split()))


def _text(doc: str | None) -> str:
    """A docstring as Markdown: its sections as lists of terms, everything else as it stands."""
    found: list[str] = []
    section = False
    for line in _ROLE.sub("", doc or "").splitlines():
        if line.rstrip(":") in ("Args", "Attributes", "Raises", "Returns") and line.endswith(":"):
            found += [f"*{line.rstrip(':')}*", ""]
            section = True
        elif section and line.startswith("    ") and not line.startswith("     ") and ":" in line:
            term, _, rest = line.strip().partition(":")
            found.append(f"- `{term}`:{rest}")
        elif section and line.startswith("     "):
            found.append(f"  {line.strip()}")
        else:
            section = section and not line.strip()
            found.append(line)
    return "\n".join(found)


def _shown(thing: Any) -> str:
    """A constant, told by its members' names where it has many."""
    if isinstance(thing, dict):
        return ", ".join(sorted(map(str, thing)))
    return repr(thing)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 where the page is old")
    options = parser.parse_args()
    made = page()
    if options.check:
        return int(PAGE.read_text(encoding="utf-8") != made)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
