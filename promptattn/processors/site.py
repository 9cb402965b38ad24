"""One attention layer of a denoiser, as the run sees it: what to weigh and what to read off in the next call."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from promptattn.core import Columns, Kernel, KeyWeights, attention
from promptattn.errors import UnsupportedModelError

__all__ = ["Site", "Watching"]

Watching = Columns | Callable[[int], Columns | None]


class Site:
    """The state of one derived processor. The processor's attention calls read it; a run, or a user by hand, sets it.

    Attributes:
        key_weights: weights for the layer's keys, or None to leave them alone.
        columns: what to record, or None. Either a :class:`Columns`, or a function from the number of query rows
            to one (the recorder allocates a layer's buffer when it first learns its size), or a list of such. Functions
            are asked on every call.
        keys: the number of keys that the two above speak about, or None for any. An attention call with another
            number of keys inside the same processor (IP-Adapter's image tokens) passes through untouched.
        batch: the number of rows of the batch that the first two speak of, or None for any. A layer that attends with
            its rows part by part, as those do that perturbed-attention guidance perturbs, does so in their order.
        rows: those among them that `columns` are of, where `batch` is known.
        told: what the user has been told of this layer's attention backend; shared by the layers of a run.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.key_weights: KeyWeights | None = None
        self.columns: Watching | Sequence[Watching] | None = None
        self.keys: int | None = None
        self.batch: int | None = None
        self.rows = slice(0, 0)
        self.told: set[str] = set()
        self._attended = 0

    @property
    def active(self) -> bool:
        return self.key_weights is not None or self.columns is not None

    @property
    def weighs(self) -> bool:
        """Whether some key is to be weighed; weights that the host knows to be 1 are none."""
        return self.key_weights is not None and self.key_weights.acts

    def clear(self) -> None:
        """Back to neutral: the stock attention call, on the same tensors."""
        self.key_weights = None
        self.columns = None
        self.keys = None
        self.batch = None
        self._attended = 0

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        mask: torch.Tensor | None,
        dropout_p: float,
        is_causal: bool,
        scale: float | None,
        enable_gqa: bool,
        kernel: Kernel | None = None,
    ) -> torch.Tensor:
        """Attention through the core. query, key, value and the output: `[batch, head, sequence, head_dim]`.

        kernel: the one to run in the place of that which torch would choose; see :func:`promptattn.core.attention`.
        """
        part = self._part(query.shape[0])
        return attention(
            query,
            key,
            value,
            mask=mask,
            is_causal=is_causal,
            scale=scale,
            enable_gqa=enable_gqa,
            key_weights=self._weights(part),
            capture=self._asked(query.shape[-2], part) or None,
            dropout_p=dropout_p,
            kernel=kernel,
        ).output

    def concerns(self, keys: int) -> bool:
        """Whether an attention call with this many keys is the one to act on."""
        return self.active and (self.keys is None or self.keys == keys)

    def _part(self, rows: int) -> slice | None:
        """Which rows of the batch an attention call of so many has; None for all."""
        if self.batch is None or rows >= self.batch:
            return None
        part = slice(self._attended, self._attended + rows)
        self._attended = part.stop % self.batch
        return part

    def _weights(self, part: slice | None) -> KeyWeights | None:
        weights = self.key_weights
        if weights is None or part is None or weights.weight.ndim == 1:
            return weights
        return replace(weights, weight=weights.weight[part])

    def _asked(self, queries: int, part: slice | None) -> list[Columns]:
        """What to record in a call with so many queries; nothing where its rows are not those to record."""
        rows = self.rows
        if part is not None and (rows.stop <= part.start or part.stop <= rows.start):
            return []
        wanted = self.columns if isinstance(self.columns, Sequence) else [self.columns]
        asked = [each(queries) if callable(each) else each for each in wanted]
        columns = [each for each in asked if each is not None]
        if part is None or not columns:
            return columns
        if rows.start < part.start or part.stop < rows.stop:
            raise UnsupportedModelError(
                f"attention layer {self.name or '(by hand)'} attends with rows {part.start} to {part.stop} of its batch"
                f" by themselves, and rows {rows.start} to {rows.stop} are to be recorded together; record nothing"
                " (capture=False), or leave that layer out."
            )
        shifted = slice(rows.start - part.start, rows.stop - part.start)
        return [replace(each, batch_rows=shifted) for each in columns]
