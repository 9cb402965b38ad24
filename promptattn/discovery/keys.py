"""Which rows of the text, and of the latents, are behind which queries and keys of every attention layer.

All rows of the text are changed at once, and then, one bit after the other, those whose number has that bit: a key that
moves in the calls of its row's bits, and in no other, tells the number. So 512 rows take 11 calls, and not 512.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from promptattn.discovery.arguments import Arguments
from promptattn.discovery.listening import Unknown
from promptattn.processors.derive import why_not
from promptattn.processors.install import Installation, attention_layers

__all__ = ["Reading", "readings", "spread"]

_CHANGE = 3.0  # standard deviations
_NOTHING = 1e-4  # of the largest key: moves by rounding alone
_UNMOVED, _MOVED = 0.25, 0.75  # of the way that a key goes when every row is changed


@dataclass(frozen=True)
class Reading:
    """What one attention call of a layer reads.

    Attributes:
        queries, keys: their numbers.
        text: from a row of the text to the key that is made of it.
        image_queries, image_keys: those that move with the latents.
    """

    queries: int
    keys: int
    text: dict[int, int]
    image_queries: tuple[int, ...]
    image_keys: tuple[int, ...]


@dataclass(frozen=True)
class _Attended:
    query: torch.Tensor
    key: torch.Tensor


_Calls = dict[str, list[_Attended]]


def readings(denoiser: torch.nn.Module, arguments: Arguments) -> dict[str, list[Reading]]:
    """For every layer whose attention can be entered, what each of its attention calls reads, in their order.

    Raises:
        Unknown: when the denoiser cannot be called so.
    """
    if arguments.mask is None:
        return _readings(denoiser, arguments, arguments.given)
    every = torch.ones_like(arguments.given[arguments.mask])
    try:
        # Models may leave out or overwrite what is masked; here every row is to be seen.
        return _readings(denoiser, arguments, arguments.given | {arguments.mask: every})
    except Unknown:
        return _readings(denoiser, arguments, arguments.given)


def _readings(denoiser: torch.nn.Module, arguments: Arguments, given: dict[str, Any]) -> dict[str, list[Reading]]:
    text, sample = given[arguments.text], given[arguments.sample]
    noise = _noise(text)
    rows = text.shape[1]
    codes = torch.arange(1, rows + 1, device=text.device)
    with _cut(denoiser) as attended:

        def keys_with(**changed: torch.Tensor) -> _Calls:
            return attended(given | changed)

        plain = keys_with()
        image = keys_with(**{arguments.sample: sample + _noise(sample)})
        whole = keys_with(**{arguments.text: text + noise})
        bits = [
            keys_with(**{arguments.text: text + noise * (codes >> bit & 1).view(-1, 1)})
            for bit in range(rows.bit_length())
        ]
    return {
        name: [
            Reading(
                queries=call.query.shape[-2],
                keys=call.key.shape[-2],
                text=_decoded(call, whole[name][at], [each[name][at] for each in bits], rows),
                image_queries=_moved(call.query, image[name][at].query),
                image_keys=_moved(call.key, image[name][at].key),
            )
            for at, call in enumerate(calls)
        ]
        for name, calls in plain.items()
    }


def spread(
    denoiser: torch.nn.Module, arguments: Arguments, place: tuple[Any, ...]
) -> dict[str, tuple[tuple[int, ...], int]]:
    """For every layer the queries, of its first call, that move with one place of the latents, and with any at all.

    Of the latter the first; layers that none moves are left out.
    """
    sample = arguments.given[arguments.sample]
    noise = _noise(sample)
    changed = sample.clone()
    changed[place] += noise[place]
    with _cut(denoiser) as attended:
        before, here, anywhere = (
            attended(arguments.given | {arguments.sample: latents}) for latents in (sample, changed, sample + noise)
        )
    moved = {
        name: [_moved(calls[0].query, each[name][0].query) for each in (here, anywhere)]
        for name, calls in before.items()
    }
    return {name: (some, every[0]) for name, (some, every) in moved.items() if every}


@contextmanager
def _cut(denoiser: torch.nn.Module) -> Iterator[Any]:
    """A function from arguments to what each layer is given to attend; their attention gives zeros meanwhile."""
    names = [name for name, layer in attention_layers(denoiser).items() if why_not(type(layer.processor)) is None]
    installation = Installation(denoiser, names)
    calls: _Calls = {}

    def attended(arguments: dict[str, Any]) -> _Calls:
        calls.clear()
        try:
            with torch.no_grad():
                denoiser(**arguments)
        except Exception as error:
            raise Unknown(f"called again with what it was given, it said: {type(error).__name__}: {error}") from error
        return {name: list(found) for name, found in calls.items()}

    try:
        for name, site in installation.sites.items():
            # Whatever stands there makes a site attend by itself, and it is never asked.
            site.columns = lambda queries: None
            vars(site)["attend"] = _listening(calls, name)
        yield attended
    finally:
        installation.remove()


def _listening(calls: _Calls, name: str) -> Any:
    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **options: Any) -> torch.Tensor:
        calls.setdefault(name, []).append(_Attended(query.detach().clone(), key.detach().clone()))
        return query.new_zeros(*query.shape[:-1], value.shape[-1])

    return attend


def _noise(tensor: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)).to(tensor)
    return _CHANGE * float(tensor.float().std().clamp_min(0.1)) * noise


def _way(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """How far each row goes, `[row]`, whatever the batch row and the head."""
    return (after - before).float().abs().amax(dim=(0, 1, 3))


def _moved(before: torch.Tensor, after: torch.Tensor) -> tuple[int, ...]:
    moved = _way(before, after) > _NOTHING * before.float().abs().amax()
    return tuple(moved.nonzero().flatten().tolist())


def _decoded(plain: _Attended, whole: _Attended, bits: list[_Attended], rows: int) -> dict[int, int]:
    """From each row of the text to the key that goes with it, and with no other row."""
    full = _way(plain.key, whole.key)
    moves = full > _NOTHING * plain.key.float().abs().amax()
    shares = torch.stack([_way(plain.key, each.key) for each in bits]) / full.clamp_min(1e-30)
    clear = moves & ((shares < _UNMOVED) | (shares > _MOVED)).all(dim=0)
    weights = 1 << torch.arange(len(bits), device=shares.device)
    codes = ((shares > _MOVED) * weights.view(-1, 1)).sum(dim=0)
    seats: dict[int, int] = {}
    for key in clear.nonzero().flatten().tolist():
        row = int(codes[key]) - 1
        if 0 <= row < rows:
            seats.setdefault(row, key)
    return seats
