"""Working through the query rows in pieces, so that intermediate results stay small."""

from __future__ import annotations

from collections.abc import Iterator

import torch

__all__ = ["row_chunks"]

_CHUNK_BYTES = 64 * 2**20


def row_chunks(start: int, stop: int, bytes_per_row: int) -> Iterator[slice]:
    """Slices that cover the rows from `start` to `stop`, each with at most about 64 MiB of intermediate results.

    With gradients on there is one slice only: autograd would keep every piece's intermediate results anyway.
    """
    step = stop - start if torch.is_grad_enabled() else max(1, _CHUNK_BYTES // max(bytes_per_row, 1))
    step = max(step, 1)
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))
