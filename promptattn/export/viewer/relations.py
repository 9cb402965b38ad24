"""Attention between words, for the page's tables."""

from collections.abc import Sequence
from typing import Any

from promptattn.maps import HeatMaps, TextAttention
from promptattn.prompt import Word

__all__ = ["relations"]

MOST_WORDS = 40  # a side: more would be too small to read
MOST_TABLES = 8  # a very long prompt is read in very many parts


def relations(maps: HeatMaps) -> list[dict[str, Any]]:
    """For each encoder that read the prompt, and for joint attention, the words and how much they attend to others."""
    tables = [_table(text, text.reads(maps.words)) for text in maps.text_attention]
    return [table for table in tables if table["words"]][:MOST_TABLES]


def _table(text: TextAttention, read: Sequence[Word]) -> dict[str, Any]:
    words = read[:MOST_WORDS]
    matrix = text.word_matrix(words)
    return {
        "encoder": text.encoder,
        "joint": text.image is not None,
        "words": [word.text for word in words],
        "all": len(read),
        "mass": [[float(f"{mass:.4g}") for mass in row] for row in matrix.tolist()],
    }
