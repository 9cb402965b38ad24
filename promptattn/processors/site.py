"""One attention layer of a denoiser, as the run sees it: what to weigh and what to read off in the next call."""

from collections.abc import Callable, Sequence

import torch

from promptattn.core import Columns, Kernel, KeyWeights, attention

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
        told: what the user has been told of this layer's attention backend; shared by the layers of a run.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.key_weights: KeyWeights | None = None
        self.columns: Watching | Sequence[Watching] | None = None
        self.keys: int | None = None
        self.told: set[str] = set()

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
        wanted = self.columns if isinstance(self.columns, Sequence) else [self.columns]
        asked = [each(query.shape[-2]) if callable(each) else each for each in wanted]
        columns = [each for each in asked if each is not None]
        return attention(
            query,
            key,
            value,
            mask=mask,
            is_causal=is_causal,
            scale=scale,
            enable_gqa=enable_gqa,
            key_weights=self.key_weights,
            capture=columns or None,
            dropout_p=dropout_p,
            kernel=kernel,
        ).output

    def concerns(self, keys: int) -> bool:
        """Whether an attention call with this many keys is the one to act on."""
        return self.active and (self.keys is None or self.keys == keys)
