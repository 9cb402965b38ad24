"""Settings that Dynamo cannot trace are read once, while tracing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["constant_while_tracing"]

F = TypeVar("F", bound=Callable[..., Any])


def constant_while_tracing(function: F) -> F:
    """Marks a function of Python constants whose result `torch.compile` bakes into the graph.

    What `torch.compiler.assume_constant_result` does, without the import of Dynamo that takes as long as torch's own.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
