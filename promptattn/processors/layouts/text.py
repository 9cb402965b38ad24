"""Texts that come as something else than `[batch, token, channel]`, as such a tensor, or in several arguments."""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["filled_up", "of_llama_twice", "of_t5", "side_by_side"]


def filled_up(texts: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor:
    """Texts `[token, channel]` of any length, behind each other in the batch, zeros behind the shorter ones.

    The very same tensor for the very same texts: pipelines make a new list of them at every step, and what is known of
    a text is known by its tensor.
    """
    if isinstance(texts, torch.Tensor):
        return texts
    key = [(ref(each), None if each.is_inference() else each._version) for each in texts]
    for known, rows in _known.setdefault(texts[0], []):
        if len(known) == len(key) and all(
            one() is other() and version == now for (one, version), (other, now) in zip(known, key, strict=True)
        ):
            return rows
    rows = pad_sequence(list(texts), batch_first=True)
    # The newest alone: an older one is of texts that were written to, or of a run that is over.
    _known[texts[0]] = [*_known[texts[0]][-1:], (key, rows)]
    return rows


_Key = list[tuple["ReferenceType[torch.Tensor]", int | None]]
_known: MutableMapping[torch.Tensor, list[tuple[_Key, torch.Tensor]]] = WeakIdKeyDictionary()


def side_by_side(text: torch.Tensor) -> torch.Tensor:
    """Texts `[batch, token, layer, channel]` with the layers' channels side by side; the very same tensor for the very
    same text."""
    known = _flat.get(text)
    version = None if text.is_inference() else text._version
    if known is None or known[0] != version:
        # A copy: a view would keep the text, and with it this entry.
        known = _flat[text] = version, text.flatten(2).clone()
    return known[1]


_flat: MutableMapping[torch.Tensor, tuple[int | None, torch.Tensor]] = WeakIdKeyDictionary()


def of_t5(arguments: Mapping[str, Any]) -> int:
    """HunyuanDiT: the rows of its second text encoder."""
    return int(arguments["encoder_hidden_states_t5"].shape[1])


def of_llama_twice(arguments: Mapping[str, Any]) -> int:
    """HiDream: rows of one layer of Llama, the same in all of its own layers, and those of another in each of these.
    They come as `[layer, batch, token, channel]`."""
    return 2 * int(arguments["encoder_hidden_states_llama3"].shape[2])
