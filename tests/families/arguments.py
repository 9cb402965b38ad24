"""The arguments of a denoiser's forward call, flattened to tensors with a path each, and put together again."""

import inspect
from collections.abc import Callable
from typing import Any

import torch

Path = tuple[str | int, ...]
LONGEST = 80
"""Longer strings (instructions to a language model) are told by their length."""


def bound(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name, those that were not given left out."""
    return dict(inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments)


def leaves(value: Any, path: Path = ()) -> dict[Path, torch.Tensor]:
    """Every tensor in nested dictionaries, lists and tuples, by its path."""
    if isinstance(value, torch.Tensor):
        return {path: value}
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    else:
        return {}
    return {deep: leaf for key, part in parts for deep, leaf in leaves(part, (*path, key)).items()}


def replaced(value: Any, path: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A copy of the nest in which the tensor at `path` is another one; everything else is shared."""
    if not path:
        return change(value)
    key, *rest = path
    if isinstance(value, dict):
        return value | {key: replaced(value[key], tuple(rest), change)}
    items = list(value)
    items[key] = replaced(items[key], tuple(rest), change)
    return type(value)(items)


def written(path: Path) -> str:
    """A path as one would write it: `added_cond_kwargs.text_embeds`, `cap_feats[0]`."""
    head, *rest = path
    return str(head) + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in rest)


def described(value: Any) -> Any:
    """An argument in a form that fits into a table: dtype and shape of tensors, short values as they are."""
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, dict):
        return {str(key): described(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [described(part) for part in value]
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"a string of {len(value)} characters"
    if value is None or isinstance(value, bool | int | float):
        return value
    return type(value).__name__


def equal(one: Any, other: Any) -> bool:
    return one.shape == other.shape and torch.equal(one, other)
