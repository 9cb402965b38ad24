"""The attention core: every attention of a model can go through it, be weighted exactly and be watched.

    result = attention(query, key, value, key_weights=KeyWeights.of([3, 4], [1.4, 1.4]), capture=Columns(index))
    result.output, result.columns

A weight multiplies a key's odds; `KeyWeights(rule=...)` has two more rules, as Prompt-to-Prompt and NegPip weigh.

Eight kinds, all with the same `key_weights` and `capture`:

    scaled dot product                          attention
    dot product                                 dot_product_attention, LuongAttention
    additive                                    AdditiveAttention
    multi-head, self, cross, grouped-query      MultiHeadAttention
    sparse                                      sparse_attention over a LocalWindow or Strided pattern

The CPU paths are run by the tests. The CUDA kernels are called as their operators' signatures and
`F.scaled_dot_product_attention` itself call for, and have been checked against the signatures only.
"""

from promptattn.core.additive import AdditiveAttention
from promptattn.core.attention import AttentionResult, attention, explain_kernel
from promptattn.core.columns import Columns
from promptattn.core.dead import dead_rows
from promptattn.core.dot import LuongAttention, dot_product_attention
from promptattn.core.explain import Explanation
from promptattn.core.kernels import Kernel
from promptattn.core.multihead import MultiHeadAttention
from promptattn.core.sparse import LocalWindow, Strided, sparse_attention
from promptattn.core.weights import SAFE_FLOOR, KeyWeights, Rule

__all__ = [
    "SAFE_FLOOR",
    "AdditiveAttention",
    "AttentionResult",
    "Columns",
    "Explanation",
    "Kernel",
    "KeyWeights",
    "LocalWindow",
    "LuongAttention",
    "MultiHeadAttention",
    "Rule",
    "Strided",
    "attention",
    "dead_rows",
    "dot_product_attention",
    "explain_kernel",
    "sparse_attention",
]
