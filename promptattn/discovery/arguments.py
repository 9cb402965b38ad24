"""Which argument of a denoiser is the text, which the latents: those that differ with the prompt, and with the seed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from promptattn.discovery.listening import PROMPTS, Unknown, first_call

__all__ = ["Arguments", "find_arguments"]

Path = tuple[str, ...]
_TIMESTEPS = ("timestep", "timesteps", "t")


@dataclass(frozen=True)
class Arguments:
    """The arguments of a forward call, and what some of them are.

    Attributes:
        given: all of them, by name.
        text: name of the text embeddings, `[batch, row, channel]`.
        grows: whether there are more rows of text for a longer prompt.
        pooled: where the pooled text `[batch, channel]` is: a name, and for an argument that is a dict the key in it;
            () where there is none.
        mask: name of what says which rows of the text may be attended to, `[batch, row ...]`, or None.
        sample: name of the latents, `[batch, channel, height, width]` or `[batch, row, channel]`.
        timestep: name of the timestep.
        positions: name of what tells (image, row, column) of every row of packed latents, `[row, 3]`, or None.
    """

    given: dict[str, Any]
    text: str
    grows: bool
    pooled: Path
    mask: str | None
    sample: str
    timestep: str
    positions: str | None


def find_arguments(pipe: Any, denoiser: torch.nn.Module) -> Arguments:
    """The arguments of the first call of the denoiser.

    Raises:
        Unknown: when no argument, or more than one, can be the text, or the latents.
    """
    given = first_call(pipe, denoiser, PROMPTS[0])
    reordered, shorter = (first_call(pipe, denoiser, prompt) for prompt in PROMPTS[1:])
    noise = first_call(pipe, denoiser, PROMPTS[0], seed=1)
    here = dict(_leaves(given))
    by_prompt = {path: leaf for path, leaf in here.items() if _differs(leaf, _at(reordered, path))}
    by_length = {path: leaf for path, leaf in here.items() if _differs(leaf, _at(shorter, path))}
    by_seed = {path: leaf for path, leaf in here.items() if _differs(leaf, _at(noise, path))}
    if not by_prompt:
        raise Unknown("no argument of its first call is another one for another prompt")
    if any(not leaf.is_floating_point() for leaf in by_prompt.values()):
        raise Unknown("it is given token ids, and embeds its text itself")
    (text,) = _only(by_prompt, lambda leaf: leaf.ndim == 3, "its text", "three dimensions, [batch, row, channel]")
    (sample,) = _only(by_seed, lambda leaf: leaf.ndim in (3, 4), "its latents", "three or four dimensions")
    pooled = [path for path, leaf in by_prompt.items() if leaf.ndim == 2]
    if len(pooled) > 1 or len(pooled) + 1 < len(by_prompt):
        names = ", ".join(".".join(path) for path in by_prompt)
        raise Unknown(f"its text comes in {len(by_prompt)} arguments ({names})")
    rows = here[text,].shape[1]
    masks = [
        path[0]
        for path, leaf in by_length.items()
        if path not in by_prompt and len(path) == 1 and leaf.ndim == 2 and leaf.shape[1] >= rows
    ]
    timestep = next((name for name in _TIMESTEPS if name in given), None)
    if timestep is None:
        raise Unknown(f"none of its arguments is called {' or '.join(_TIMESTEPS)}")
    return Arguments(
        given=given,
        text=text,
        grows=here[text,].shape != shorter[text].shape,
        pooled=pooled[0] if pooled else (),
        mask=masks[0] if masks else None,
        sample=sample,
        timestep=timestep,
        positions=_positions(here, here[sample,]),
    )


def _only(
    found: Mapping[Path, torch.Tensor], fits: Callable[[torch.Tensor], bool], what: str, shape: str
) -> tuple[str]:
    """The name of the one argument of this kind."""
    names = [".".join(path) for path, leaf in found.items() if fits(leaf)]
    if len(names) != 1 or "." in names[0]:
        seen = ", ".join(f"{'.'.join(path)} {list(leaf.shape)}" for path, leaf in found.items()) or "none"
        raise Unknown(f"{what} should be one argument of {shape}; those that differ are {seen}")
    return (names[0],)


def _positions(leaves: Mapping[Path, torch.Tensor], sample: torch.Tensor) -> str | None:
    """The positions of rows of packed latents, as Flux has them."""
    if sample.ndim != 3:
        return None
    fitting = (
        path[0]
        for path, leaf in leaves.items()
        if len(path) == 1 and leaf.ndim in (2, 3) and leaf.shape[-2:] == (sample.shape[1], 3)
    )
    return next(fitting, None)


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, torch.Tensor]]:
    """Every tensor among the arguments, those in dicts and lists too."""
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _leaves(part, (*path, str(index)))


def _at(arguments: dict[str, Any], path: Path) -> torch.Tensor | None:
    return dict(_leaves(arguments)).get(path)


def _differs(leaf: torch.Tensor, other: torch.Tensor | None) -> bool:
    return other is None or leaf.shape != other.shape or not torch.equal(leaf, other)
