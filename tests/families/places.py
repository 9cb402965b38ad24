"""Where the rows of text and image stand among the keys of every attention layer, found by changing them one by one.

Attention is cut for this (`watching.attention_calls`), so that a changed row stays where it is.
"""

import re
from collections import Counter
from typing import Any

import torch
from families.arguments import Path, leaves, replaced
from families.watching import AttentionCall, attention_calls

MOST_SEATS = 8
"""A token that moves more key rows than this as far as its own has no place of its own."""
MANY = 4
"""So many tokens must stand as far from a key row as each other for that to be more than chance."""
MOST_RUNS = 6
"""More runs than this are no order: the layer attends to something else than tokens."""
BEGINNING, END, BETWEEN = 24, 4, 6
"""Which tokens of a long text are tried: so many at its beginning and at its end, and so many in between."""


def token_axis(leaf: torch.Tensor, batch: int) -> int | None:
    """The axis of the tokens: the longest one beside channels and batch. None for a pooled embedding."""
    if not leaf.is_floating_point():
        return 1 if leaf.ndim == 2 else None
    if leaf.ndim < 3:
        return 0 if leaf.ndim == 2 and leaf.shape[0] != batch else None
    sizes = [0 if axis == 0 and size == batch else size for axis, size in enumerate(leaf.shape[:-1])]
    return sizes.index(max(sizes))


def batch_axis(leaf: torch.Tensor, batch: int) -> int | None:
    """The axis of the batch: the first one of its size that is neither the tokens' nor the channels'."""
    taken = {token_axis(leaf, batch)} | ({leaf.ndim - 1} if leaf.is_floating_point() and leaf.ndim > 1 else set())
    return next((axis for axis, size in enumerate(leaf.shape) if size == batch and axis not in taken), None)


def tried(tokens: int) -> list[int]:
    """The tokens of a text that are changed, one by one."""
    between = torch.linspace(0, tokens - 1, min(tokens, BETWEEN)).round().int().tolist()
    return sorted({*range(tokens)[:BEGINNING], *range(tokens)[-END:], *between})


def text_places(
    model: torch.nn.Module,
    arguments: dict[str, Any],
    path: Path,
    *,
    batch: int,
    row: int,
) -> list[dict[str, Any]]:
    """For every kind of attention call, the key row at which each token of the text at `path` stands.

    Args:
        batch: the number of rows in the batch.
        row: the one whose tokens are changed.
    """
    leaf = leaves(arguments)[path]
    axis = token_axis(leaf, batch)
    if axis is None:
        return []
    calls = attention_calls(model, arguments, cut=True)
    found: list[list[tuple[int, list[int], bool]]] = [[] for _ in calls]
    for token in tried(leaf.shape[axis]):
        changed = with_other_token(arguments, path, batch, row, token)
        for entry, before, after in zip(found, calls, attention_calls(model, changed, cut=True), strict=True):
            entry.append((token, *seats_of_change(before, after)))
    return _grouped(model, calls, [_segments(entry) for entry in found])


def with_other_token(arguments: dict[str, Any], path: Path, batch: int, row: int, token: int) -> dict[str, Any]:
    """The same arguments, one token of one batch row changed."""
    leaf = leaves(arguments)[path]
    place: list[Any] = [slice(None)] * leaf.ndim
    place[token_axis(leaf, batch) or 0] = token
    if (rows := batch_axis(leaf, batch)) is not None:
        place[rows] = row
    return replaced(arguments, path, lambda tensor: _moved(tensor, tuple(place)))


def image_places(model: torch.nn.Module, arguments: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """The same for the image: the key rows of its corners, or of its two ends where it comes as a sequence."""
    leaf = leaves(arguments)[path]
    if leaf.ndim == 3 and path[-1] == path[0]:
        corners: dict[str, tuple[Any, ...]] = {"first": (slice(None), 0), "last": (slice(None), -1)}
    else:
        config = model.config
        channels = getattr(config, "in_channels", getattr(config, "in_visual_dim", None))
        behind = (slice(None),) if leaf.shape[-1] == channels and leaf.shape[1] != channels else ()
        corners = {
            f"{row},{column}": (..., row, column, *behind) for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1))
        }
    calls = attention_calls(model, arguments, cut=True)
    found: list[dict[str, Any]] = [{} for _ in calls]
    for name, place in corners.items():
        changed = replaced(arguments, path, lambda tensor, place=place: _moved(tensor, place))
        for entry, before, after in zip(found, calls, attention_calls(model, changed, cut=True), strict=True):
            seats, _ = seats_of_change(before, after)
            entry[name] = seats[0] if len(seats) == 1 else (f"{len(seats)} rows" if seats else None)
    return _grouped(model, calls, found)


def _moved(leaf: torch.Tensor, place: tuple[Any, ...]) -> torch.Tensor:
    leaf = leaf.clone()
    if leaf.is_floating_point():
        noise = torch.randn(leaf[place].shape, generator=torch.Generator().manual_seed(1))
        leaf[place] += 3 * noise.to(leaf.dtype) * leaf.std().clamp_min(0.1)
    else:
        leaf[place] = leaf[place] + 1
    return leaf


def seats_of_change(before: AttentionCall, after: AttentionCall) -> tuple[list[int], bool]:
    """The key rows that moved most, in that order, and whether others moved: where a text is also pooled, all do."""
    if before.key.shape != after.key.shape:
        return [], True
    moved = (after.key - before.key).abs().amax(dim=(0, 1, 3))
    tolerance = 1e-6 * float(before.key.abs().amax())
    most = float(moved.max())
    if most <= tolerance:
        return [], False
    seats = sorted((moved > 0.2 * most).nonzero().flatten().tolist(), key=lambda row: -float(moved[row]))
    return seats, bool((moved > tolerance).sum() > len(seats))


def _segments(entry: list[tuple[int, list[int], bool]]) -> dict[str, Any]:
    """Runs of tokens that stand one behind the other: [first token, last token, key row of the first].

    A token may stand at several rows, each of which is told then.
    """
    runs: list[list[int]] = []
    nowhere: list[list[int]] = []
    spread = 0
    before = None
    offsets = Counter(seat - token for token, seats, _ in entry for seat in seats)
    usual = min(MANY, len(entry))
    for token, seats, _ in entry:
        if len(seats) <= MOST_SEATS:
            # Rows that every token moves, by way of a pooled text, are not as far from one token as from the others.
            seats = sorted(seat for seat in seats if offsets[seat - token] >= usual) or seats[:1]
        if not seats:
            if nowhere and nowhere[-1][1] == before:
                nowhere[-1][1] = token
            else:
                nowhere.append([token, token])
        elif len(seats) > MOST_SEATS:
            spread += 1
        elif runs and runs[-1][1] == before and seats == [seat + token - runs[-1][0] for seat in runs[-1][2:]]:
            runs[-1][1] = token
        else:
            runs.append([token, token, *seats])
        before = token
    result: dict[str, Any] = {"runs": runs} if len(runs) <= MOST_RUNS else {"runs": [], "scattered_runs": len(runs)}
    if nowhere:
        result["nowhere"] = nowhere
    if spread:
        result["tokens_at_many_rows"] = spread
    if any(others for _, _, others in entry):
        result["others_move_too"] = True
    return result


def _grouped(model: torch.nn.Module, calls: list[AttentionCall], found: list[Any]) -> list[dict[str, Any]]:
    """Attention calls alike in everything but the number of their block, told once."""
    modules = dict(model.named_modules())
    groups: dict[str, dict[str, Any]] = {}
    for call, entry in zip(calls, found, strict=True):
        name = call.layer or f"(no processor) {call.module}"
        processor = getattr(modules.get(call.layer), "processor", None) if call.layer else None
        told = {
            "layer": layer_told(name),
            "processor": type(processor).__name__ if processor is not None else None,
            "queries": call.queries,
            "keys": call.key.shape[-2],
            "key_batch": call.key.shape[0],
            "masked": call.masked,
            "places": entry,
        }
        group = groups.setdefault(repr(told), told | {"calls": 0})
        group["calls"] += 1
    return list(groups.values())


def layer_told(name: str) -> str:
    """The name of a layer, a star for the number of its block."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name)
