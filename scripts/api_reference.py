"""The API reference, docs/api.md, from the docstrings of everything public.

python scripts/api_reference.py                 # writes docs/api.md
python scripts/api_reference.py --check         # says whether it is as the docstrings are
"""

import ast
import inspect
import itertools
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from generated_page import run

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
SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:")

_TERM = re.compile(r"(`?[\w-]+`?(?:, `?[\w-]+`?)*(?:\([^)]*\))?): ?")
_ROLE = re.compile(r":(?:func|class|data|meth|mod|attr):(?=`)")


def page() -> str:
    parts = [
        "# API reference\n",
        "For readers who know what they are looking for; the [guide](guide.md) shows how the parts are used. Made from"
        " the docstrings by `python scripts/api_reference.py`. The names in the first section are imported from"
        " `promptattn` itself, and are not repeated under the package that they come from. Shapes of arrays and tensors"
        " stand in brackets, `[height, width]`.\n",
        "## promptattn\n",
        *(entry(name, getattr(promptattn, name), promptattn) for name in promptattn.__all__),
    ]
    told = {id(getattr(promptattn, name)) for name in promptattn.__all__}
    for room in ROOMS:
        module = import_module(room)
        parts.append(f"## {room}\n\n{_text(inspect.getdoc(module))}\n")
        parts += [
            entry(name, getattr(module, name), module)
            for name in module.__all__
            if id(getattr(module, name)) not in told
        ]
    return "\n".join(parts)


def entry(name: str, thing: Any, module: ModuleType) -> str:
    """One public name: how it is called, what its docstring says, and its public methods."""
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        said = _text(_said_of(name, module))
        return "\n".join([f"### {name}\n", _shown(thing), "", *([said, ""] if said else [])])
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
            yield f"- **`{name}{_signature(function, method=True)}`** {_below(function)}"
        elif isinstance(member, property) or type(member).__name__ == "cached_property":
            yield f"- **`{name}`** {_below(member)}"
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


def _below(thing: Any) -> str:
    """A member's docstring under its bullet, further paragraphs indented."""
    return "\n".join(f"  {line}" if line else "" for line in _text(inspect.getdoc(thing)).splitlines()).strip()


def _text(doc: str | None) -> str:
    """A docstring as Markdown: its sections, and paragraphs of `term: what it is`, as lists; the rest as it stands."""
    found: list[str] = []
    paragraphs = _ROLE.sub("", doc or "").split("\n\n")
    for paragraph in paragraphs:
        head, _, rest = paragraph.partition("\n")
        if head in SECTIONS:
            found += [f"*{head.rstrip(':')}*", "", *_terms(textwrap.dedent(rest), listed=head != "Returns:"), ""]
        else:
            found += [*_terms(paragraph, listed=_lists_terms(paragraph)), ""]
    return "\n".join(found).strip()


def _lists_terms(paragraph: str) -> bool:
    """Whether every line of it is `term: what it is`, or goes on with the one before, indented."""
    lines = paragraph.splitlines()
    # A sentence may begin with a name and a colon too ("Maps: what a run recorded"): it begins with a capital.
    begins = bool(lines) and lines[0].lstrip("`")[:1].islower() and bool(_TERM.match(lines[0]))
    return begins and all(_TERM.match(line) or line.startswith("    ") for line in lines)


def _terms(paragraph: str, *, listed: bool) -> Iterator[str]:
    for line in paragraph.splitlines():
        if listed and not line.startswith(" ") and (term := _TERM.match(line)):
            yield f"- `{term[1].strip('`')}`: {line[term.end() :]}"
        else:
            yield f"  {line.strip()}" if listed else line


def _said_of(name: str, module: ModuleType) -> str | None:
    """The string under a constant, in whichever file of the package assigns it."""
    assert module.__file__ is not None
    for file in sorted(Path(module.__file__).parent.rglob("*.py")):
        for made, following in itertools.pairwise(ast.parse(file.read_text(encoding="utf-8")).body):
            match following:
                case ast.Expr(ast.Constant(str(said))) if name in _assigned(made):
                    return inspect.cleandoc(said)
    return None


def _assigned(made: ast.stmt) -> list[str]:
    targets = made.targets if isinstance(made, ast.Assign) else [made.target] if isinstance(made, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _shown(thing: Any) -> str:
    """A constant: told by its keys where it is a table, item by item where these are records."""
    if isinstance(thing, dict):
        return f"`{', '.join(sorted(map(str, thing)))}`"
    if isinstance(thing, tuple) and thing and is_dataclass(thing[0]):
        return "\n".join(f"- `{each}`" for each in thing)
    return f"`{thing!r}`"


if __name__ == "__main__":
    sys.exit(run(__doc__.splitlines()[0], PAGE, page))
