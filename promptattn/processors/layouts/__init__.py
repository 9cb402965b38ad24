"""Layouts: where each denoiser has its text and its image."""

from promptattn.processors.layouts.layout import READING, DenoiserCall, LayerKind, Layout, Seats
from promptattn.processors.layouts.table import ADDING_KEYS, FOUND, LAYOUTS, PROJECTING, known_layout, layout_of

__all__ = [
    "ADDING_KEYS",
    "FOUND",
    "LAYOUTS",
    "PROJECTING",
    "READING",
    "DenoiserCall",
    "LayerKind",
    "Layout",
    "Seats",
    "known_layout",
    "layout_of",
]
