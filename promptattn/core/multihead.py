"""Multi-head attention (Vaswani et al. 2017, section 3.2.2): self-, cross-, grouped-query and multi-query."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from promptattn.core.attention import AttentionResult, attention
from promptattn.core.columns import Columns
from promptattn.core.weights import KeyWeights
from promptattn.errors import UnsupportedModelError

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(nn.Module):
    """`MultiHead(Q, K, V) = Concat(head_1 ... head_h) W^O`, each head attending in its own projection.

    embed_dim: size of the queries and of the output; a multiple of num_heads.
    kv_heads: key and value heads, a divisor of num_heads; None means num_heads. Fewer is grouped-query attention
        (Ainslie et al. 2023, arXiv:2305.13245), 1 is multi-query attention (Shazeer 2019, arXiv:1911.02150).
    key_dim, value_dim: sizes of the keys and values that come in; None means embed_dim. With other keys than the
        queries this is cross-attention, without it is self-attention.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        kv_heads: int | None = None,
        key_dim: int | None = None,
        value_dim: int | None = None,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        kv_heads = num_heads if kv_heads is None else kv_heads
        if embed_dim % num_heads or num_heads % kv_heads:
            raise ValueError(
                f"embed_dim must be a multiple of num_heads, and num_heads of kv_heads; got {embed_dim}, {num_heads} "
                f"and {kv_heads}"
            )
        self.num_heads, self.kv_heads, self.dropout = num_heads, kv_heads, dropout
        width = embed_dim // num_heads * kv_heads
        self.query_proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.key_proj = nn.Linear(embed_dim if key_dim is None else key_dim, width, bias=bias)
        self.value_proj = nn.Linear(embed_dim if value_dim is None else value_dim, width, bias=bias)
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=bias)

    @classmethod
    def from_torch(cls, module: nn.MultiheadAttention) -> MultiHeadAttention:
        """The same attention with a copy of `torch.nn.MultiheadAttention`'s parameters.

        Ours always takes `[batch, row, dim]`, whatever the module's `batch_first`, and in its masks True means visible,
        where the module's bool masks say what to hide. Raises UnsupportedModelError for `add_bias_kv` and
        `add_zero_attn`, which append keys of their own.
        """
        if module.bias_k is not None or module.add_zero_attn:
            raise UnsupportedModelError(
                "torch.nn.MultiheadAttention with add_bias_kv or add_zero_attn appends keys of its own, which "
                "MultiHeadAttention does not have: load a module without them"
            )
        bias = module.in_proj_bias is not None
        ours = cls(
            module.embed_dim, module.num_heads, key_dim=module.kdim, value_dim=module.vdim, bias=bias,
            dropout=module.dropout,
        )  # fmt: skip
        ours.to(module.out_proj.weight).train(module.training)
        projections = (ours.query_proj, ours.key_proj, ours.value_proj)
        packed = module.in_proj_weight
        separate = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        with torch.no_grad():
            for layer, weight in zip(projections, packed.chunk(3) if packed is not None else separate, strict=True):
                layer.weight.copy_(weight)
            if bias:
                for layer, vector in zip(projections, module.in_proj_bias.chunk(3), strict=True):
                    layer.bias.copy_(vector)
                ours.out_proj.bias.copy_(module.out_proj.bias)
            ours.out_proj.weight.copy_(module.out_proj.weight)
        return ours

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        is_causal: bool = False,
        key_weights: KeyWeights | None = None,
        capture: Columns | None = None,
    ) -> AttentionResult:
        """query `[batch, query, embed_dim]`, key `[batch, key, key_dim]`, value `[batch, key, value_dim]`.

        key: None means the query (self-attention); value: None means the key.
        mask: bool (True = visible) or float (added), broadcastable to `[batch, head, query, key]`: a padding mask
            `[batch, key]` is given as `padding[:, None, None, :]`.
        Returns the output `[batch, query, embed_dim]`, and columns as `attention` does.
        """
        key = query if key is None else key
        value = key if value is None else value
        result = attention(
            self._heads(self.query_proj(query), self.num_heads),
            self._heads(self.key_proj(key), self.kv_heads),
            self._heads(self.value_proj(value), self.kv_heads),
            mask=mask,
            is_causal=is_causal,
            enable_gqa=self.kv_heads != self.num_heads,
            key_weights=key_weights,
            capture=capture,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return AttentionResult(self.out_proj(result.output.transpose(1, 2).flatten(2)), result.columns)

    @staticmethod
    def _heads(states: Tensor, heads: int) -> Tensor:
        """`[batch, row, head * dim]` to `[batch, head, row, dim]`."""
        return states.unflatten(-1, (heads, -1)).transpose(1, 2)
