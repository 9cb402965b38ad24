"""The attention core: every attention of a model can go through it, be weighted exactly and be watched.

result = attention(query, key, value, key_weights=KeyWeights.of([3, 4], [1.4, 1.4]), capture=Columns(index))
result.output, result.columns
"""

from promptattn.core.attention import AttentionResult, attention, explain_kernel
from promptattn.core.columns import Columns
from promptattn.core.explain import Explanation
from promptattn.core.weights import KeyWeights

__all__ = ["AttentionResult", "Columns", "Explanation", "KeyWeights", "attention", "explain_kernel"]
