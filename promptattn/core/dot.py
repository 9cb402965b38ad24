"""Dot product attention and its kin (Luong, Pham and Manning 2015, arXiv:1508.04025, section 3.1)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from promptattn.core.additive import AdditiveAttention
from promptattn.core.attention import AttentionResult, attention
from promptattn.core.columns import Columns
from promptattn.core.weights import KeyWeights

__all__ = ["LuongAttention", "dot_product_attention"]


def dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    key_weights: KeyWeights | None = None,
    capture: Columns | None = None,
) -> AttentionResult:
    """Attention with the plain scores `s_ij = <q_i, k_j>`: no projection, no scale.

    Shapes as in `attention`; `value` defaults to the keys, as it does in the paper.
    """
    value = key if value is None else value
    return attention(query, key, value, mask=mask, scale=1.0, key_weights=key_weights, capture=capture)


class LuongAttention(nn.Module):
    """Attention of a target state h_t over source states h_s, with one of the paper's three scores (equation 8):

    "dot"      h_t^T h_s                    (both of the same size)
    "general"  h_t^T W_a h_s
    "concat"   v_a^T tanh(W_a [h_t; h_s])   (additive attention, with W_a = [W U])

    query_dim, key_dim: sizes of h_t and h_s; hidden_dim: rows of W_a for "concat", the query's size by default.
    """

    def __init__(
        self,
        query_dim: int,
        key_dim: int | None = None,
        *,
        score: Literal["dot", "general", "concat"] = "general",
        hidden_dim: int | None = None,
    ) -> None:
        super().__init__()
        key_dim = query_dim if key_dim is None else key_dim
        if score not in ("dot", "general", "concat"):
            raise ValueError(f'score must be "dot", "general" or "concat"; got {score!r}')
        if score == "dot" and key_dim != query_dim:
            raise ValueError(f'score "dot" needs states of one size; got {query_dim} and {key_dim}: use "general"')
        self.score = score
        self.projection = nn.Linear(key_dim, query_dim, bias=False) if score == "general" else None
        self.alignment = AdditiveAttention(query_dim, key_dim, hidden_dim or query_dim) if score == "concat" else None

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        key_weights: KeyWeights | None = None,
        capture: Columns | None = None,
    ) -> AttentionResult:
        """query `[batch, query, query_dim]`, key `[batch, key, key_dim]`, value `[batch, key, dim]` (None: the keys).

        mask: bool (True = visible) or float (added), broadcastable to `[batch, query, key]`.
        Returns the contexts `[batch, query, dim]`, and columns as `attention` does, with one head.
        """
        value = key if value is None else value
        if self.alignment is not None:
            return self.alignment(query, key, value, mask=mask, key_weights=key_weights, capture=capture)
        key = key if self.projection is None else self.projection(key)
        return dot_product_attention(query, key, value, mask=mask, key_weights=key_weights, capture=capture)
