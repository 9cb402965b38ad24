"""What is wrongly asked for, told to machines as it is told to people."""

from typing import Any

import typer
from typer.core import TyperGroup

from promptattn.console import USAGE, failed

__all__ = ["Commands"]

# What is raised for options that do not exist, lack their value, or cannot be read; typer exports one of them only.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
_AS_JSON = "promptattn.as_json"


class Commands(TyperGroup):
    """The commands; a mistake in calling one is JSON on stdout too, if JSON was asked for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[_AS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            if ctx.meta[_AS_JSON]:
                failed(type(error).__name__, error.format_message(), USAGE)  # type: ignore[attr-defined]
            raise
