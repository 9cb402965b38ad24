"""Working through rows and heads in pieces, so that intermediate results stay small."""

from __future__ import annotations

from collections.abc import Iterator

import torch

__all__ = ["chunks"]

# On a processor the pieces should fit its caches (8 MiB was the fastest of 2 to 1000 on two layers' worth of shapes).
# On an accelerator, and in a traced graph, every piece costs launches or nodes, so that only memory counts.
_CACHED_BYTES = 8 * 2**20
_LAUNCHED_BYTES = 256 * 2**20


def chunks(count: int, bytes_each: int, device: torch.device) -> Iterator[slice]:
    """Slices that cover 0 to `count`, each with a bounded size of intermediate results (`bytes_each` per item).

    With gradients on there is one slice only: autograd would keep every piece's intermediate results anyway.
    """
    eager = device.type == "cpu" and not torch.compiler.is_compiling()
    room = _CACHED_BYTES if eager else _LAUNCHED_BYTES
    if torch.is_grad_enabled() or count * bytes_each <= room:
        # No numbers in it: a length that is symbolic while tracing stays so.
        yield slice(None)
        return
    step = max(1, room // bytes_each)
    for first in range(0, count, step):
        yield slice(first, first + step)
