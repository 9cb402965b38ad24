"""What is public is listed, exists, and is documented."""

import importlib
import pkgutil

import pytest

import promptattn
from promptattn import errors

ROOMS = [
    "batch",
    "core",
    "doctor",
    "errors",
    "explanation",
    "export",
    "maps",
    "processors",
    "prompt",
    "records",
    "run",
    "shapes",
    "sweeps",
    "weighting",
]


def test_every_public_name_resolves():
    assert promptattn.__all__ == sorted(promptattn.__all__)
    for name in promptattn.__all__:
        assert getattr(promptattn, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = promptattn.nonsense


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_list_their_names_sorted_and_documented(room):
    module = importlib.import_module(f"promptattn.{room}")
    assert module.__doc__
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    for name in module.__all__:
        thing = getattr(module, name)
        if callable(thing) and getattr(thing, "__module__", "").startswith("promptattn"):
            assert thing.__doc__, f"{room}.{name} has no docstring"


def test_every_error_is_under_one_root():
    for name in errors.__all__:
        thing = getattr(errors, name)
        assert issubclass(thing, errors.PromptAttnError | Warning)


def test_the_core_imports_no_other_room():
    import promptattn.core

    for info in pkgutil.iter_modules(promptattn.core.__path__, "promptattn.core."):
        source = importlib.util.find_spec(info.name).loader.get_source(info.name)
        for line in source.splitlines():
            if line.startswith(("import promptattn", "from promptattn")):
                assert line.split()[1].startswith(("promptattn.core", "promptattn.errors")), (info.name, line)
