"""Explaining a prompt to its writer: how a model reads it, what its weights become, and what will not act."""

from promptattn.explanation.acting import Note
from promptattn.explanation.explaining import Explanation, Finding, explain
from promptattn.explanation.model import EncoderFacts, ModelFacts
from promptattn.explanation.readings import (
    EncoderReading,
    Moment,
    PartReading,
    PromptReading,
    Text,
    TokenReading,
    WordReading,
)
from promptattn.explanation.tree import TreeNode

__all__ = [
    "EncoderFacts",
    "EncoderReading",
    "Explanation",
    "Finding",
    "ModelFacts",
    "Moment",
    "Note",
    "PartReading",
    "PromptReading",
    "Text",
    "TokenReading",
    "TreeNode",
    "WordReading",
    "explain",
]
