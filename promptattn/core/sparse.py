"""Sparse attention (Child, Gray, Radford and Sutskever 2019, arXiv:1904.10509): local windows and strides.

Neither builds the `[query, key]` table: a window is attended in blocks of its own size, a stride by splitting the rows
into residue classes. With windows and strides near sqrt(n), time and memory grow as n * sqrt(n).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from promptattn.core.attention import AttentionResult
from promptattn.core.chunks import chunks
from promptattn.core.columns import Columns, columns_from_lse
from promptattn.core.logits import Scores, matmul, working_dtype
from promptattn.core.merge import join
from promptattn.core.softmax import weigh
from promptattn.core.weights import KeyWeights

__all__ = ["LocalWindow", "Strided", "sparse_attention"]


@dataclass(frozen=True)
class LocalWindow:
    """Row i sees the keys at most `window` away: i - window to i (causal), or to i + window.

    The first head of the strided pattern in section 4.3, `A_i = {t, t + 1, ..., i}` with `t = max(0, i - l)`.
    """

    window: int
    is_causal: bool = True

    def __post_init__(self) -> None:
        if self.window < 0:
            raise ValueError(f"a window must not be negative; got {self.window}")

    def __call__(self, rows: Tensor, keys: Tensor) -> Tensor:
        """Which keys each row sees, from their numbers: bool, broadcast over both."""
        near = (rows - keys).abs() <= self.window
        return near & (keys <= rows) if self.is_causal else near


@dataclass(frozen=True)
class Strided:
    """Row i sees every `stride`-th key counted from itself, and the keys at most `window` away.

    The strided pattern of section 4.3 with both of its heads merged: `A_i = {j : (i - j) mod l = 0}` and the local
    window. `window=0` leaves the second head alone; `window=stride` is the paper's pair.
    """

    stride: int
    window: int = 0
    is_causal: bool = True

    def __post_init__(self) -> None:
        if self.stride < 1 or self.window < 0:
            raise ValueError(f"a stride is at least 1 and a window at least 0; got {self.stride} and {self.window}")

    @classmethod
    def for_length(cls, length: int, *, is_causal: bool = True) -> Strided:
        """The paper's choice for sequences of `length`: stride and window near its square root."""
        root = max(1, math.isqrt(length))
        return cls(root, root, is_causal)

    def __call__(self, rows: Tensor, keys: Tensor) -> Tensor:
        """Which keys each row sees, from their numbers: bool, broadcast over both."""
        apart = rows - keys
        seen = (apart % self.stride == 0) | (apart.abs() <= self.window)
        return seen & (apart >= 0) if self.is_causal else seen


def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pattern: LocalWindow | Strided,
    *,
    scale: float | None = None,
    key_weights: KeyWeights | None = None,
    capture: Columns | None = None,
) -> AttentionResult:
    """Attention in which each row sees the keys that `pattern` shows it.

    query, key, value: `[batch, head, row, dim]` of one length; key and value may have fewer heads (a divisor).
    Equal to `attention(..., mask=pattern(rows, keys))`, in float32 inside, without the mask and the table under it.
    `key_weights` and `capture` mean what they mean to `attention`.
    """
    if query.ndim != 4 or query.shape[2] != key.shape[2] or key.shape[:3] != value.shape[:3]:
        raise ValueError(
            "sparse attention needs query, key and value of one length, [batch, head, row, dim]; got "
            f"{list(query.shape)}, {list(key.shape)} and {list(value.shape)}"
        )
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    weights = key_weights if key_weights is not None and key_weights.acts else None
    with torch.autocast(query.device.type, enabled=False):
        scores = Scores(query, key, None, scale, pattern)
        shown = torch.ones(key.shape[2], dtype=torch.bool, device=key.device)
        if weights is not None:
            shown = shown.index_fill(0, weights.index, False)
        output, lse = _mix(list(_parts(scores, value, shown, pattern)))
        if weights is not None:
            output, lse = join(scores, value, weights, output, lse)
        columns = None if capture is None else columns_from_lse(scores, lse, capture, weights)
    return AttentionResult(output.to(query.dtype), columns)


def _parts(
    scores: Scores, value: Tensor, shown: Tensor, pattern: LocalWindow | Strided
) -> Iterator[tuple[Tensor, Tensor]]:
    """Output and lse over each of the disjoint sets of keys that make up the pattern.

    shown: bool `[key]`; the others are left out.
    """
    heads, dtype = scores.query.shape[1], working_dtype(scores.query)
    query = scores.query.to(dtype) * scores.scale
    key, value = (t.to(dtype).repeat_interleave(heads // t.shape[1], dim=1) for t in (scores.key, value))
    if isinstance(pattern, LocalWindow):
        yield _window(query, key, value, shown, pattern)
        return
    yield _stride(query, key, value, shown, pattern)
    if pattern.window:
        yield _window(query, key, value, shown, LocalWindow(pattern.window, pattern.is_causal))


def _mix(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """One attention out of several over disjoint keys, each with its lse (+inf where it sees none)."""
    if len(parts) == 1:
        return parts[0]
    normalisers = torch.stack([lse for _, lse in parts], dim=-1)
    shares = weigh(torch.where(normalisers == math.inf, -math.inf, normalisers))
    output = sum(share[..., None] * output for share, (output, _) in zip(shares.mass.unbind(-1), parts, strict=True))
    assert isinstance(output, Tensor)
    return output, shares.lse


def _window(query: Tensor, key: Tensor, value: Tensor, shown: Tensor, pattern: LocalWindow) -> tuple[Tensor, Tensor]:
    """Blocks of `window` rows, each against its own block of keys and the neighbouring ones."""
    length, size = query.shape[2], max(pattern.window, 1)
    count = -(-length // size)
    after = 0 if pattern.is_causal else 1

    def neighbours(tensor: Tensor, dim: int) -> Tensor:
        """`[..., row, ...]` to `[..., block, key of the blocks around, ...]`, zero beyond the ends."""
        trailing = (0, 0) * (tensor.ndim - 1 - dim)
        padded = pad(tensor, (*trailing, size, count * size - length + after * size))
        blocks = padded.unflatten(dim, (count + 1 + after, size))
        return torch.cat([blocks.narrow(dim, shift, count) for shift in range(2 + after)], dim=dim + 1)

    numbers = torch.arange(count * size, device=query.device).view(count, size)
    around = numbers[:, :1] + torch.arange(-size, size * (1 + after), device=query.device)
    visible = pattern(numbers[:, :, None], around[:, None, :]) & neighbours(shown, 0)[:, None, :]
    rows = pad(query, (0, 0, 0, count * size - length)).unflatten(2, (count, size))
    part = _attend(rows, neighbours(key, 2), neighbours(value, 2), visible)
    return part[0].flatten(2, 3)[:, :, :length], part[1].flatten(2, 3)[:, :, :length]


def _stride(query: Tensor, key: Tensor, value: Tensor, shown: Tensor, pattern: Strided) -> tuple[Tensor, Tensor]:
    """Rows of one residue class against the keys of that class, but for those that the window already covers."""
    length, stride = query.shape[2], pattern.stride
    count = -(-length // stride)
    missing = count * stride - length

    def classes(tensor: Tensor) -> Tensor:
        return pad(tensor, (0, 0, 0, missing)).unflatten(2, (count, stride)).transpose(2, 3)

    numbers = torch.arange(count * stride, device=query.device).view(count, stride).T
    apart = numbers[:, :, None] - numbers[:, None, :]
    visible = pad(shown, (0, missing)).view(count, stride).T[:, None, :].expand_as(apart)
    if pattern.is_causal:
        visible = visible & (apart >= 0)
    if pattern.window:
        visible = visible & (apart.abs() > pattern.window)
    output, lse = _attend(classes(query), classes(key), classes(value), visible)
    return output.transpose(2, 3).flatten(2, 3)[:, :, :length], lse.transpose(2, 3).flatten(2, 3)[:, :, :length]


def _attend(query: Tensor, key: Tensor, value: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Attention inside blocks: query `[batch, head, block, row, dim]`, key and value `[batch, head, block, key, dim]`.

    visible: bool `[block, row, key]`. Some blocks at a time, unless autograd keeps them all.
    """
    batch, heads, blocks, rows, _ = query.shape
    outputs, normalisers = [], []
    for some in chunks(blocks, 3 * 4 * batch * heads * rows * key.shape[3], query.device):
        logits = matmul(query[:, :, some], key[:, :, some].transpose(-1, -2))
        part = weigh(logits.masked_fill(~visible[some], -math.inf))
        outputs.append(part.mass @ value[:, :, some])
        normalisers.append(part.lse)
    return torch.cat(outputs, dim=2), torch.cat(normalisers, dim=2)
