"""Additive attention (Bahdanau, Cho and Bengio 2014, arXiv:1409.0473): scores from a small learned network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from promptattn.core.attention import AttentionResult
from promptattn.core.columns import Columns
from promptattn.core.explicit import attend_explicitly
from promptattn.core.logits import masked, working_dtype
from promptattn.core.weights import KeyWeights
from promptattn.errors import WeightingError

__all__ = ["AdditiveAttention"]


class AdditiveAttention(nn.Module):
    """Scores from a small network: `s_ij = v^T tanh(W q_i + U k_j)` (appendix A.1.2, without its biases by default).

    query_dim, key_dim: sizes of the decoder states and of the annotations; hidden_dim: size of the alignment model.
    bias: whether `W q + U k` gets a bias.
    """

    def __init__(self, query_dim: int, key_dim: int, hidden_dim: int, *, bias: bool = False) -> None:
        super().__init__()
        self.query_proj = nn.Linear(query_dim, hidden_dim, bias=bias)
        self.key_proj = nn.Linear(key_dim, hidden_dim, bias=False)
        self.score = nn.Parameter(torch.empty(hidden_dim))
        nn.init.normal_(self.score, std=hidden_dim**-0.5)

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

        mask: bool (True = visible) or float (added to the scores), broadcastable to `[batch, query, key]`.
        Returns the contexts `[batch, query, dim]` in the value's dtype and columns as `attention` does, with one head.
        Raises WeightingError for the rule "scaling": a longer key is no multiple of such a score.
        The scores are float32. The `[batch, query, key, hidden]` table is built a block of query rows at a time.
        """
        if key_weights is not None and key_weights.rule == "scaling":
            raise WeightingError(
                'rule="scaling" multiplies scores, as a longer key does where they are dot products; the scores of'
                ' additive attention are not: use rule="odds" or "values"'
            )
        value = key if value is None else value
        dtype = working_dtype(query)
        with torch.autocast(query.device.type, enabled=False):
            projected = _project(query, self.query_proj, dtype)
            annotations = _project(key, self.key_proj, dtype)
            score = self.score.to(dtype)

            def logits(rows: slice) -> Tensor:
                scores = torch.tanh(projected[:, rows, None] + annotations[:, None]) @ score
                if mask is not None:
                    broadcast = mask.ndim < 2 or mask.shape[-2] == 1
                    scores = masked(scores, mask if broadcast else mask[..., rows, :])
                return scores.unsqueeze(1)

            output, columns = attend_explicitly(
                logits,
                value.to(dtype).unsqueeze(1),
                length=query.shape[1],
                bytes_per_row=2 * 4 * query.shape[0] * key.shape[1] * score.shape[0],
                weights=key_weights if key_weights is not None and key_weights.acts else None,
                captures=() if capture is None else (capture,),
            )
        return AttentionResult(output.squeeze(1).to(value.dtype), columns[0] if columns else None)


def _project(states: Tensor, layer: nn.Linear, dtype: torch.dtype) -> Tensor:
    bias = None if layer.bias is None else layer.bias.to(dtype)
    return linear(states.to(dtype), layer.weight.to(dtype), bias)
